"""``noether validate``: config files, and every problem in them."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from noether_core.cli.inputs import add_input_options, document_in, files_of, name_of
from noether_core.cli.locked import add_locked_option
from noether_core.cli.table import print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from noether_core.errors import Problem
    from noether_core.structuring.checking import CheckedConfig
    from noether_core.structuring.documents import Document
    from noether_core.structuring.lock import Locked


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    add_input_options(parser)
    add_locked_option(parser)
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument(
        "--plain",
        action="store_true",
        help="a line per config and per problem, without source and caret",
    )
    forms.add_argument("--json", action="store_true", help="JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check each file; return 0 if all are good and 1 otherwise."""
    results = _results(options)
    if options.json:
        print_json(
            [
                result | {"problems": [problem.as_dict() for problem in result["problems"]]}
                for result in results
            ]
        )
    else:
        for result in results:
            _print(result, plain=options.plain)
    return 0 if all(result["valid"] for result in results) else 1


def _results(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what is to be said of each file; of the lock file alone, where that is no good."""
    if options.locked is None:
        return [_result(file, options, None) for file in files_of(options)]
    from noether_core.errors import ConfigError
    from noether_core.structuring.lock import Locked

    try:
        locked = Locked(options.locked)
    except ConfigError as error:
        return [_told(options.locked, [], error.problems)]
    return [_result(file, options, locked) for file in files_of(options)]


def _result(file: str, options: argparse.Namespace, locked: Locked | None) -> dict[str, Any]:
    """Return what is to be said of a file: the configs that are good, and every problem of the
    others.
    """
    from noether_core.errors import ConfigError
    from noether_core.structuring.checking import check_configs

    configs: list[dict[str, str]] = []
    problems: list[Problem] = []
    try:
        document = document_in(file, options.format)
        for checked in check_configs(
            document, options.at, registry=None if locked is None else locked.registry
        ):
            found = checked.problems if locked is None else _under_lock(locked, checked, document)
            problems += found
            if checked.config is not None and not found:
                configs.append({"path": checked.path, "type": checked.config.type})
    except ConfigError as error:
        problems += error.problems
    return _told(name_of(file), configs, problems)


def _under_lock(locked: Locked, checked: CheckedConfig, document: Document) -> Sequence[Problem]:
    """Return what is wrong with a config, and in what its providers are others than they are locked
    to.
    """
    if checked.config is None:
        return [locked.explained(problem) for problem in checked.problems]
    return [
        document.locate(problem.within(*checked.keys))
        for problem in locked.problems_of(checked.config)
    ]


def _told(name: str, configs: list[dict[str, str]], problems: Sequence[Problem]) -> dict[str, Any]:
    from noether_core.errors import by_place

    return {"file": name, "valid": not problems, "configs": configs, "problems": by_place(problems)}


def _print(result: dict[str, Any], *, plain: bool) -> None:
    for config in result["configs"]:
        print(
            ": ".join(
                part for part in (result["file"], config["path"], "good", config["type"]) if part
            )
        )
    for problem in result["problems"]:
        print(problem.headline if plain else problem, file=sys.stderr)
