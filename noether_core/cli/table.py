"""Tables: drawn on a terminal, tab-separated in a pipe, JSON on request."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Add the options by which a command's table is asked for in another form."""
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument(
        "--plain",
        action="store_true",
        help="tab-separated lines, nothing cut; the default in a pipe",
    )
    forms.add_argument("--json", action="store_true", help="JSON")


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, plain: bool) -> None:
    """Print *columns* of *rows* under a header.

    Lists are joined by commas. Text is shown as it is, without markup, and on a terminal folded
    rather than cut.
    """
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    if plain or not sys.stdout.isatty():
        for line in (columns, *cells):
            print("\t".join(line))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for line in cells:
        table.add_row(*map(Text, line))
    Console().print(table)


def print_json(data: Any) -> None:
    """Print plain data as JSON."""
    import json

    print(json.dumps(data, indent=2))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return " ".join(text.split())  # a line break or a tab in a cell would break the table
