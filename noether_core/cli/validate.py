"""``noether validate``: config files, and every problem in them."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from noether_core.cli.table import print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="YAML, TOML or JSON, told by the suffix")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--plain", action="store_true", help="a line per file and per problem, without source and caret")
    forms.add_argument("--json", action="store_true", help="JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check each file; return 0 if all are good and 1 otherwise."""
    results = [_result(file) for file in options.files]
    if options.json:
        print_json([result | {"problems": [problem.as_dict() for problem in result["problems"]]} for result in results])
    else:
        for result in results:
            _print(result, plain=options.plain)
    return 0 if all(result["valid"] for result in results) else 1


def _result(file: str) -> dict[str, Any]:
    from noether_core.errors import ConfigError, PluginError, Problem
    from noether_core.structuring.files import load

    problems: tuple[Problem, ...] = ()
    config = None
    try:
        config = load(file)
    except ConfigError as error:
        problems = error.problems
    except PluginError as error:
        problems = (Problem(message=str(error), keys=("type",), file=file),)
    return {"file": file, "valid": not problems, "type": config and config.type, "problems": problems}


def _print(result: dict[str, Any], *, plain: bool) -> None:
    if result["valid"]:
        print(f"{result['file']}: good: {result['type']}")
    for problem in result["problems"]:
        print(problem.headline if plain else problem, file=sys.stderr)
