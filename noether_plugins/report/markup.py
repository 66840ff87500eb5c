"""Tables as HTML: whatever stands in a cell is text, and never markup."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from noether_core.quoting import masked

MISSING = "\N{EN DASH}"
"""What stands where there is no number."""

_USUAL = (1e-4, 1e6)
"""Sizes of numbers that are written without an exponent."""


class Column(NamedTuple):
    """The head of a column."""

    name: str
    is_number: bool = False

    unit: str = ""
    """What its numbers are in, or a word on what they are."""

    is_wide: bool = False
    """Whether its text may be long, and breaks into lines."""


class Cell(NamedTuple):
    """What a cell shows, and what it is sorted by."""

    text: str
    value: float | str | None = None
    note: str = ""
    """What stands below, smaller."""


class TableRow(NamedTuple):
    """The cells of a row, the first of which is its head, and the runs that the row stands for."""

    cells: Sequence[Cell]
    runs: Sequence[int] = ()
    state: str = ""


def text(value: str) -> str:
    """Return *value* as it stands in HTML, in an attribute or between tags.

    What leaves no mark, such as a character that turns the direction of writing, is a mark.
    """
    return escape("\n".join(masked(line) for line in value.split("\n")), quote=True)


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[TableRow],
    *,
    name: str,
    classes: str = "",
) -> str:
    """Return a table.

    Args:
        caption: What it shows.
        columns: Its columns, the first of which has the heads of the rows.
        rows: Its rows.
        name: By which the page's scripts know it.
        classes: How it looks.
    """
    head = "".join(map(_head, columns))
    body = "\n".join(_row(row, columns) for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}, table">'
        f'<table id="{text(name)}" class="{text(classes)}"><caption>{text(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _head(column: Column) -> str:
    unit = f' <small class="unit">{text(column.unit)}</small>' if column.unit else ""
    kind = ' class="number"' if column.is_number else ""
    return f'<th scope="col"{kind}><span class="name">{text(column.name)}</span>{unit}</th>'


def _row(row: TableRow, columns: Sequence[Column]) -> str:
    runs = " ".join(map(str, row.runs))
    cells = "".join(
        _cell(cell, column, is_head=number == 0)
        for number, (cell, column) in enumerate(zip(row.cells, columns, strict=True))
    )
    return f'<tr data-runs="{runs}" data-state="{text(row.state)}">{cells}</tr>'


def _cell(cell: Cell, column: Column, *, is_head: bool) -> str:
    tag, scope = ("th", ' scope="row"') if is_head else ("td", "")
    kinds = {"number": column.is_number, "wide": column.is_wide}
    classes = " ".join(kind for kind, holds in kinds.items() if holds)
    kind = f' class="{classes}"' if classes else ""
    value = cell.text if cell.value is None and not column.is_number else cell.value
    sorted_by = "" if value is None else str(value)
    note = f'<small class="note">{text(cell.note)}</small>' if cell.note else ""
    content = f'<span class="text">{text(cell.text)}</span>{note}'
    return f'<{tag}{scope}{kind} data-value="{text(sorted_by)}">{content}</{tag}>'


def number(value: float | None, *, digits: int = 4, scale: float = 1.0) -> Cell:
    """Return the cell of a number, scaled for the reader, or of none."""
    if value is None:
        return Cell(MISSING)
    return Cell(written(value * scale, digits), value)


def whole(value: float | None) -> Cell:
    """Return the cell of a whole number, or of none."""
    return Cell(MISSING) if value is None else Cell(f"{value:,.0f}", value)


def written(value: float, digits: int = 4) -> str:
    """Return a number with so many digits, without an exponent where it is of a usual size."""
    if value == 0:
        return "0"
    least, most = _USUAL
    if not least <= abs(value) < most:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{_decimals(abs(value), digits)}f}"


def _decimals(size: float, digits: int) -> int:
    """Return how many decimals show the digits; columns of errors from 0.01 to 1 have the same."""
    power = math.floor(math.log10(size)) + 1
    return max(0, digits - (0 if power == -1 else power))
