"""``noether list``: what is installed, from metadata alone unless details are asked for."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import Any

from noether_core.cli.table import add_table_options, print_json, print_table
from noether_core.plugins.catalogue import Catalogue
from noether_core.plugins.index import EntryPoint

_COLUMNS = ("type", "distribution", "version", "plugin", "note")
_DETAILS = ("interface", "capabilities", "summary")


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    add_table_options(parser)
    parser.add_argument(
        "--details", action="store_true", help="interface, capabilities and summary; imports each plugin"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print a line per variant; return 0."""
    known = Catalogue()
    providers = known.providers()
    counts = Counter(entry.name for entry in providers)
    rows = [_row(entry, _note(counts[entry.name], entry)) for entry in providers]
    rows += [_row(entry, "blocked") for entry in known.blocked()]
    if options.details:
        rows = [row | _details(row) for row in rows]
    rows.sort(key=lambda row: (row["type"], row["distribution"]))
    if options.json:
        print_json(rows)
    else:
        print_table(rows, (*_COLUMNS[:-1], *_DETAILS * options.details, _COLUMNS[-1]), plain=options.plain)
    for fault in known.faults:
        print(f"noether: {fault.origin}: {fault.reason}", file=sys.stderr)
    return 0


def _row(entry: EntryPoint, note: str) -> dict[str, Any]:
    return dict(zip(_COLUMNS, (entry.name, entry.distribution, entry.version, entry.value, note), strict=True))


def _note(providers: int, entry: EntryPoint) -> str:
    return f"write {entry.qualified_name}" if providers > 1 else ""


def _details(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the plugin says of itself, or why it cannot."""
    from noether_core.errors import NoetherError
    from noether_core.plugins.registry import registry

    if row["note"] == "blocked":
        return {}
    try:
        variant = registry().get(f"{row['distribution']}:{row['type']}")
    except NoetherError as error:
        return {"note": str(error)}
    return {name: getattr(variant, name) for name in _DETAILS}
