"""``noether validate``: config files, and every problem in them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, NamedTuple

from noether_core.cli.configs import (
    add_input_options,
    add_locked_option,
    class_of_files,
    document_in,
    files_of,
    name_of,
    problems_under_lock,
)
from noether_core.cli.output import (
    add_table_options,
    print_errors,
    print_json,
    print_line,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from noether_core.errors import Problem
    from noether_core.schemas.schema import Schema
    from noether_core.structuring.checking import CheckedConfig
    from noether_core.structuring.lock import Locked


class Result(NamedTuple):
    """What was found in a file."""

    file: str
    configs: Sequence[dict[str, str]]
    """The configs that are good: ``path``, where they stand in the file, and ``type``."""

    problems: Sequence[Problem]
    """What is wrong with the others."""
    warnings: Sequence[Problem] = ()
    """Options of older versions in those that are good."""

    def as_dict(self) -> dict[str, Any]:
        """Return the same facts as plain data, ready for JSON."""
        return {
            "file": self.file,
            "valid": not self.problems,
            "configs": list(self.configs),
            "problems": [problem.as_dict() for problem in self.problems],
            "warnings": [warning.as_dict() for warning in self.warnings],
        }


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    add_input_options(parser)
    add_locked_option(parser)
    add_table_options(parser, plain="a line per config and per problem, without source and caret")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check each file; return 0 if all are good and 1 otherwise."""
    results = list(_results(options, class_of_files(options)))
    if options.json:
        print_json([result.as_dict() for result in results])
    else:
        for result in results:
            _print(result, plain=options.plain)
    return 1 if any(result.problems for result in results) else 0


def _results(options: argparse.Namespace, cls: type[Schema] | None) -> Iterator[Result]:
    """Yield what is found in each file, or in the lock file alone where that is no good."""
    from noether_core.errors import ConfigError

    locked = None
    if options.locked is not None:
        from noether_core.structuring.lock import Locked

        try:
            locked = Locked(options.locked)
        except ConfigError as error:  # nothing can be said of files under a lock that says nothing
            yield Result(options.locked, (), error.problems)
            return
    for file in files_of(options):
        yield _result(file, options, cls, locked)


def _result(
    file: str, options: argparse.Namespace, cls: type[Schema] | None, locked: Locked | None
) -> Result:
    """Return the configs of a file that are good, and every problem of the others.

    Where *cls* is given, the file holds one of those, and the configs are those within it.
    """
    from noether_core.errors import ConfigError, by_location
    from noether_core.structuring.checking import check_configs

    registry = None if locked is None else locked.registry
    configs: list[dict[str, str]] = []
    problems: list[Problem] = []
    warnings: list[Problem] = []
    try:
        document = document_in(file, options)
        for checked in check_configs(document, options.at, cls=cls, registry=registry):
            found = list(problems_under_lock(checked, locked, document))
            problems += found
            if checked.config is not None and not found:
                configs += _described(checked)
                warnings += checked.notices
    except ConfigError as error:  # the file cannot be read; others can
        problems += error.problems
    return Result(name_of(file), configs, by_location(problems), by_location(warnings))


def _described(checked: CheckedConfig) -> Iterator[dict[str, str]]:
    """Yield path and type of a good config, or of those that an experiment holds."""
    from noether_core.errors import path_text
    from noether_core.schemas.open_config import OpenConfig, open_configs_in

    if isinstance(checked.config, OpenConfig):
        yield {"path": checked.path, "type": checked.config.type}
        return
    for keys, config in open_configs_in(checked.config):
        yield {"path": path_text(keys), "type": config.type}


def _print(result: Result, *, plain: bool) -> None:
    for config in result.configs:
        words = [result.file, config["path"], "good", config["type"]]
        print_line(": ".join(filter(None, words)))
    for warning in result.warnings:
        print_errors(f"warning: {warning.headline if plain else warning}")
    for problem in result.problems:
        print_errors(problem.headline if plain else str(problem))
