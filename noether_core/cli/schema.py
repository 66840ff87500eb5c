"""``noether schema``: JSON Schema for editors and other validators."""

from __future__ import annotations

import argparse

from noether_core.cli.output import print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument(
        "type",
        metavar="TYPE",
        nargs="?",
        help="a type, bare or qualified; all that are installed if left out",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the schema; return 0."""
    from noether_core.structuring.json_schema import json_schema

    print_json(json_schema(options.type))
    return 0
