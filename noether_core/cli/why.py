"""``noether why``: what a type means, and what speaks for and against each plugin it may mean."""

from __future__ import annotations

import argparse
from typing import Any

from noether_core.cli.choosing import (
    add_choosing_options,
    add_kind_option,
    chosen_catalogue,
    kind_of,
)
from noether_core.cli.output import (
    add_table_options,
    print_error,
    print_json,
    print_line,
    print_table,
)
from noether_core.plugins.catalogue import Candidate

_COLUMNS = ("candidate", "version", "state", "plugin", "file", "metadata")


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument(
        "type", metavar="TYPE", help="a type, bare or as distribution:type, installed or not"
    )
    add_kind_option(parser)
    add_table_options(parser)
    add_choosing_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print every candidate, and what the type means.

    No plugin is imported, so one that is there may still be found broken when it is used.

    Returns:
        0 if the type leads to a plugin that is there, and 1 otherwise.
    """
    from noether_core.plugins.resolution import explain

    known, faults = chosen_catalogue(options)
    known = kind_of(options.type, known, is_task=options.task)
    explanation = explain(options.type, known)
    status = 0 if explanation.resolves else 1
    rows = [_row(candidate) for candidate in explanation.candidates]

    if options.json:
        unread = [{"origin": fault.origin, "reason": fault.reason} for fault in faults]
        print_json(explanation._asdict() | {"candidates": rows, "unread": unread})
        return status

    if rows:
        print_table([_readable(row) for row in rows], _COLUMNS, plain=options.plain)
        print_line()
    print_line(explanation.sentence)
    if not explanation.resolves:  # what could not be read may be what is looked for
        for fault in faults:
            print_error(f"noether: {fault.origin}: {fault.reason}")
    return status


def _row(candidate: Candidate) -> dict[str, Any]:
    from noether_core.plugins.imports import file_of

    entry = candidate.entry
    row = {
        "candidate": entry.qualified_name,
        "version": entry.version,
        "state": candidate.state,
        "reason": candidate.reason,
        "message": candidate.description,
        "plugin": entry.value,
        "metadata": entry.origin,
    }
    # Where the code lies is looked up without importing it: it may be what is wrong.
    try:
        return row | {"file": file_of(entry.value)}
    except ImportError as error:
        return row | {"file": None, "missing": str(error)}


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as a table shows it."""
    return row | {"state": row["message"], "file": row["file"] or row["missing"]}
