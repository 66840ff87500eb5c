"""``noether list``: what is installed, from metadata and source; details import the plugins."""

from __future__ import annotations

import argparse

from noether_core.cli.choosing import add_choosing_options, chosen_catalogue
from noether_core.cli.output import add_table_options, print_error, print_json, print_table
from noether_core.plugins.catalogue import (
    AMBIGUOUS,
    BLOCKED,
    CHOSEN,
    PASSED_OVER,
    SHADOWED,
    Candidate,
    candidates,
)
from noether_core.plugins.metadata import KINDS, TASKS, VARIANTS, EntryPoint
from noether_core.plugins.outlines import outline_of

# What type checkers take for typing's, which takes as long to import as all else that lists do.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FACTS = ("type", "distribution", "version", "plugin")
_OUTLINES = {VARIANTS: ("interface", "summary"), TASKS: ("summary",)}
_DETAILS = {VARIANTS: ("interface", "capabilities", "summary"), TASKS: ("summary", "reference")}
"""What is listed of each kind, from the source and from the records."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    add_table_options(parser)
    add_choosing_options(parser)
    parser.add_argument(
        "--tasks", action="store_true", help="the tasks to learn, in place of attention variants"
    )
    parser.add_argument(
        "--details",
        action="store_true",
        help="as each plugin's record has them: interface, capabilities and summary, or summary "
        "and reference of tasks; imports each",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print a line per variant, or per task; return 0."""
    known, faults = chosen_catalogue(options)
    if options.tasks:
        known = known.of_kind(TASKS)
    rows = [_row(candidate, details=options.details) for candidate in candidates(known)]
    rows.sort(key=lambda row: (row["type"], row["distribution"]))

    if options.json:
        print_json(rows)
    else:
        facts = _DETAILS if options.details else _OUTLINES
        print_table(rows, (*_FACTS, *facts[known.kind], "note"), plain=options.plain)
    for fault in faults:
        print_error(f"noether: {fault.origin}: {fault.reason}")
    return 0


def _row(candidate: Candidate, *, details: bool) -> dict[str, Any]:
    entry = candidate.entry
    row = {
        "type": entry.name,
        "distribution": entry.distribution,
        "version": entry.version,
        "plugin": entry.value,
        "note": _note(candidate),
    }
    if not details:
        return row | _outline(entry)
    # What was blocked is not to be imported, and a copy that is hidden never would be.
    if candidate.state not in {BLOCKED, SHADOWED}:
        row |= _details(entry)
    return row


def _outline(entry: EntryPoint) -> dict[str, str]:
    """Return what a source says: nothing that is installed is run."""
    names = _OUTLINES[KINDS[entry.group]]
    is_in_process = not entry.origin  # so that its record is at hand
    known = _details(entry) if is_in_process else outline_of(entry)._asdict()
    return {name: known.get(name, "") for name in names}


def _note(candidate: Candidate) -> str:
    """Return what a reader must know to use a plugin, or why it cannot be."""
    if candidate.state == CHOSEN:
        return ""
    if candidate.state in {AMBIGUOUS, PASSED_OVER}:
        return f"{candidate.state}; write {candidate.entry.qualified_name}"
    return candidate.description if candidate.state == SHADOWED else candidate.state


def _details(entry: EntryPoint) -> dict[str, Any]:
    """Return what a plugin says of itself, or why it cannot."""
    from noether_core.errors import NoetherError
    from noether_core.plugins.registry import registry

    kind = KINDS[entry.group]
    try:
        record = registry().of_kind(kind).get(entry.qualified_name)
    except NoetherError as error:
        return {"note": str(error)}
    return {name: getattr(record, name) for name in _DETAILS[kind]}
