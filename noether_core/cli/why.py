"""``noether why``: what a type means, and what speaks for and against each plugin that it may mean."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from noether_core.cli.choosing import add_choosing_options, chosen_catalogue
from noether_core.cli.table import add_table_options, print_json, print_table
from noether_core.plugins.resolution import Candidate

_COLUMNS = ("candidate", "version", "state", "plugin", "file", "metadata")


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument(
        "type", metavar="TYPE", help="a type, bare or as distribution:type, installed or not"
    )
    add_table_options(parser)
    add_choosing_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print every candidate and the explanation; return 0 if the type leads to a plugin that is there,
    and 1 otherwise.

    No plugin is imported, so one that is there may still be found broken when it is used.
    """
    from noether_core.plugins.resolution import explain

    known, faults = chosen_catalogue(options)
    explanation = explain(options.type, known)
    rows = [_row(candidate) for candidate in explanation.candidates]
    if options.json:
        unread = [{"origin": fault.origin, "reason": fault.reason} for fault in faults]
        print_json(explanation._asdict() | {"candidates": rows, "unread": unread})
        return int(not explanation.resolves)
    if rows:
        print_table([_told(row) for row in rows], _COLUMNS, plain=options.plain)
        print()
    print(explanation.sentence)
    if not explanation.resolves:  # what could not be read may be what is asked for
        for fault in faults:
            print(f"noether: {fault.origin}: {fault.reason}", file=sys.stderr)
    return int(not explanation.resolves)


def _row(candidate: Candidate) -> dict[str, Any]:
    from noether_core.plugins.imports import file_of

    entry = candidate.entry
    row = {
        "candidate": entry.qualified_name,
        "version": entry.version,
        "state": candidate.state,
        "reason": candidate.reason,
        "told": candidate.description,
        "plugin": entry.value,
        "metadata": entry.origin,
    }
    try:
        return row | {"file": file_of(entry.value)}
    except ImportError as error:
        return row | {"file": None, "missing": str(error)}


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as a table shows it."""
    return row | {"state": row["told"], "file": row["file"] or row["missing"]}
