"""``noether schema``: JSON Schema for editors and other validators."""

from __future__ import annotations

import argparse
from typing import Any

from noether_core.cli import GOOD, PROBLEMS, USAGE
from noether_core.cli.configs import EXPERIMENTS, schema_of_files
from noether_core.cli.output import print_error, print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument(
        "type",
        metavar="TYPE",
        nargs="?",
        help="a type, bare or qualified; all that are installed if left out",
    )
    parser.add_argument(
        "--tasks",
        action="store_true",
        help="all tasks in place of all variants; TYPE is that of a task",
    )
    parser.add_argument(
        "--experiment",
        metavar="COMMAND",
        nargs="?",
        const=EXPERIMENTS,
        help=f"the schema of the files that a command takes, {EXPERIMENTS} if left out",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the schema; return 0."""
    from noether_core.structuring.json_schema import json_schema

    if options.experiment is None:
        print_json(json_schema(options.type, registry=_registry_for(options)))
        return GOOD
    if options.type is not None or options.tasks:
        print_error("noether schema: name a type or --experiment, not both")
        return USAGE

    schema = schema_of_files(options.experiment)
    if schema is None:
        print_error(f"noether schema: no command {options.experiment!r} says what its files hold")
        return PROBLEMS
    print_json(json_schema(schema))
    return GOOD


def _registry_for(options: argparse.Namespace) -> Any:
    """Return where TYPE is looked up: among tasks, or variants."""
    from noether_core.cli.choosing import kind_of
    from noether_core.plugins.registry import registry

    if options.type is None:
        return registry().tasks if options.tasks else registry()
    kind = kind_of(options.type, registry(), is_task=options.tasks).kind
    return registry().of_kind(kind)
