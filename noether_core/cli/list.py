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
from noether_core.plugins.metadata import EntryPoint
from noether_core.plugins.outlines import outline_of

# What type checkers take for typing's, which takes as long to import as all else that lists do.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FACTS = ("type", "distribution", "version", "plugin")
_OUTLINE = ("interface", "summary")
_DETAILS = ("interface", "capabilities", "summary")


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    add_table_options(parser)
    add_choosing_options(parser)
    parser.add_argument(
        "--details",
        action="store_true",
        help="as each plugin's record has them: interface, capabilities and summary; imports each",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print a line per variant; return 0."""
    known, faults = chosen_catalogue(options)
    rows = [_row(candidate, details=options.details) for candidate in candidates(known)]
    rows.sort(key=lambda row: (row["type"], row["distribution"]))

    if options.json:
        print_json(rows)
    else:
        details = _DETAILS if options.details else _OUTLINE
        print_table(rows, (*_FACTS, *details, "note"), plain=options.plain)
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
        row |= _details(entry.qualified_name)
    return row


def _outline(entry: EntryPoint) -> dict[str, str]:
    """Return interface and summary, from the source: nothing that is installed is run."""
    if not entry.origin:  # registered in this process, so that its record is at hand
        known = _details(entry.qualified_name)
        return {name: known.get(name, "") for name in _OUTLINE}
    return outline_of(entry)._asdict()


def _note(candidate: Candidate) -> str:
    """Return what a reader must know to use a plugin, or why it cannot be."""
    if candidate.state == CHOSEN:
        return ""
    if candidate.state in {AMBIGUOUS, PASSED_OVER}:
        return f"{candidate.state}; write {candidate.entry.qualified_name}"
    return candidate.description if candidate.state == SHADOWED else candidate.state


def _details(name: str) -> dict[str, Any]:
    """Return what the plugin of a qualified name says of itself, or why it cannot."""
    from noether_core.errors import NoetherError
    from noether_core.plugins.registry import registry

    try:
        variant = registry().get(name)
    except NoetherError as error:
        return {"note": str(error)}
    return {name: getattr(variant, name) for name in _DETAILS}
