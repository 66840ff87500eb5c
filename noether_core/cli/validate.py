"""``noether validate``: config files, and every problem in them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any

from noether_core.cli.table import print_json

STDIN = "-"
"""The FILE that stands for standard input."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="YAML, TOML or JSON, told by the suffix; a folder, for all such files in it; or - for standard input",
    )
    parser.add_argument(
        "--at",
        metavar="PATH",
        type=_path,
        help="where the configs stand in each file, such as model.attention or model.blocks[*].attention",
    )
    parser.add_argument(
        "--format", choices=("yaml", "toml", "json"), help="how all files are written, whatever their suffix"
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument(
        "--plain", action="store_true", help="a line per config and per problem, without source and caret"
    )
    forms.add_argument("--json", action="store_true", help="JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check each file; return 0 if all are good and 1 otherwise."""
    results = [_result(file, options) for name in options.files for file in _files(name)]
    if options.json:
        print_json([result | {"problems": [problem.as_dict() for problem in result["problems"]]} for result in results])
    else:
        for result in results:
            _print(result, plain=options.plain)
    return 0 if all(result["valid"] for result in results) else 1


def _path(text: str) -> Any:
    """Return the place that ``--at`` names; argparse tells what it refuses."""
    from noether_core.structuring.places import Place

    try:
        return Place(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _files(name: str) -> Iterator[str]:
    """Yield the files that *name* stands for: those of a folder whose suffix tells a format, in order; or itself."""
    found = False
    if name != STDIN and os.path.isdir(name):
        from noether_core.structuring.documents import FORMATS

        for folder, folders, files in os.walk(name):
            folders.sort()
            for file in sorted(files):
                if os.path.splitext(file)[1].lower() in FORMATS:
                    found = True
                    yield os.path.join(folder, file)
    if not found:
        yield name


def _result(file: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return what is to be said of a file: the configs that are good, and every problem of the others."""
    from noether_core.errors import ConfigError, Problem, by_place
    from noether_core.structuring.files import check_placed

    name = "<stdin>" if file == STDIN else file
    configs: list[dict[str, str]] = []
    problems: list[Problem] = []
    try:
        for path, config, found in check_placed(_document(file, name, options.format), options.at):
            problems += found
            configs += [{"path": path, "type": config.type}] if config is not None else []
    except ConfigError as error:
        problems += error.problems
    return {"file": name, "valid": not problems, "configs": configs, "problems": by_place(problems)}


def _document(file: str, name: str, format: Any) -> Any:
    from noether_core.errors import ConfigError, Problem
    from noether_core.structuring.documents import FORMATS, read, read_from

    if file == STDIN:
        return read_from(sys.stdin.buffer, format or "yaml", file=name)  # JSON is YAML too
    if os.path.isdir(file):
        raise ConfigError([Problem(message=f"is a folder without a file of {', '.join(FORMATS)}", file=name)])
    return read(file, format)


def _print(result: dict[str, Any], *, plain: bool) -> None:
    for config in result["configs"]:
        print(": ".join(part for part in (result["file"], config["path"], "good", config["type"]) if part))
    for problem in result["problems"]:
        print(problem.headline if plain else problem, file=sys.stderr)
