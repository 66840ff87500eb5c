"""How commands print: tables, JSON and lines. Whatever they write goes through here.

Nothing that came from outside reaches a terminal raw: what cannot be seen is escaped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from noether_core.quoting import visible, visible_lines

# What type checkers take for typing's, which takes as long to import as all else that lists do.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def add_table_options(
    parser: argparse.ArgumentParser,
    *,
    plain: str = "tab-separated lines, nothing cut; the default in a pipe",
) -> None:
    """Add ``--plain`` and ``--json``, which choose another form than the one on a terminal.

    Args:
        parser: That of the command.
        plain: What ``--plain`` prints.
    """
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--plain", action="store_true", help=plain)
    forms.add_argument("--json", action="store_true", help="JSON")


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, plain: bool) -> None:
    """Print *columns* of *rows* under a header.

    Lists are joined by commas. Text is shown as it is, without markup, and on a terminal folded
    rather than cut.
    """
    cells = [_cells(row, columns) for row in rows]
    if plain or not sys.stdout.isatty():
        for line in (columns, *cells):
            print_text("\t".join(line))
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


def print_facts(facts: Mapping[str, Any], *, plain: bool) -> None:
    """Print names and values, a line each."""
    rows = [{"fact": name, "value": value} for name, value in facts.items()]
    print_table(rows, ("fact", "value"), plain=plain)


def print_json(data: Any) -> None:
    """Print plain data as JSON."""
    import json

    # Of what cannot be seen, JSON leaves one character as it is: DEL.
    print_text(json.dumps(data, indent=2).replace("\x7f", "\\u007f"))


def print_line(line: str = "") -> None:
    """Print what a command has found, as one line whatever is in it."""
    print(visible(line))


def print_text(text: str) -> None:
    """Print several lines, in whose parts no line break came from outside."""
    print(visible_lines(text))


def print_error(line: str) -> None:
    """Print what is wrong on standard error, as one line whatever is in it."""
    print(visible(line), file=sys.stderr)


def print_errors(text: str) -> None:
    """Print several lines on standard error, in whose parts no line break came from outside."""
    print(visible_lines(text), file=sys.stderr)


def _cells(row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    return [_cell(row.get(column)) for column in columns]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return visible(" ".join(text.split()))  # a line break or a tab would break the table
