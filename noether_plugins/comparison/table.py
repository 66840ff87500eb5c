"""The table that a comparison ends with, for a terminal and as Markdown, and what stands below."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from noether_core.quoting import visible
from noether_plugins.comparison.record import Comparison, Row
from noether_plugins.comparison.statistics import mean_and_spread, says_nothing
from noether_plugins.comparison.ties import tie_letters

_NOTHING = "-"
_WIDEST_NAME = 30
_PADDING = 2


class _Column(NamedTuple):
    """A column: what stands above, and what of each row."""

    title: str
    cells: list[str]
    is_text: bool = False


def text(comparison: Comparison, *, width: int = 80) -> str:
    """Return the table and its notes for a terminal.

    Columns for which there is no room make a table of their own below, with the rows named again:
    nothing is left out.

    Args:
        comparison: The comparison, its rows ranked.
        width: Characters of a line.
    """
    columns = _columns(comparison)
    file = io.StringIO()
    console = Console(file=file, width=width, color_system=None, legacy_windows=False)
    for some in _fitting(columns, width):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, _PADDING, 0, 0))
        for column in some:
            is_name = column.title == "row"
            table.add_column(
                Text(column.title),
                justify="left" if column.is_text else "right",
                overflow="fold",
                no_wrap=not is_name,
                max_width=_WIDEST_NAME if is_name else None,
            )
        for cells in zip(*(column.cells for column in some), strict=True):
            table.add_row(*(Text(cell) for cell in cells))
        console.print(table)
    for note in notes(comparison):
        console.print(Text(note))
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    return "\n".join(lines).strip("\n") + "\n"


def _fitting(columns: Sequence[_Column], width: int) -> Iterator[list[_Column]]:
    """Yield the columns in tables that fit, each behind rank and row."""
    names, others = [*columns[:2]], [*columns[2:]]
    used = sum(_width(column) for column in names)
    some: list[_Column] = []
    taken = used
    for column in others:
        if some and taken + _width(column) > width:
            yield [*names, *some]
            some, taken = [], used
        some.append(column)
        taken += _width(column)
    yield [*names, *some]


def _width(column: _Column) -> int:
    widest = max(len(each) for each in (column.title, *column.cells))
    return min(widest, _WIDEST_NAME) + _PADDING


def markdown(comparison: Comparison) -> str:
    """Return the table and its notes as Markdown."""
    columns = _columns(comparison)
    lines = ["| " + " | ".join(_escaped(column.title) for column in columns) + " |"]
    lines.append("|" + "|".join("---" if column.is_text else "--:" for column in columns) + "|")
    cells_of_rows = zip(*(column.cells for column in columns), strict=True)
    lines += ["| " + " | ".join(map(_escaped, cells)) + " |" for cells in cells_of_rows]
    lines.append("")
    lines += [f"- {_escaped(note)}" for note in notes(comparison)]
    return "\n".join(lines) + "\n"


def _escaped(cell: str) -> str:
    """Return text that Markdown shows as it is."""
    for character in "\\|<>*_`[]":
        cell = cell.replace(character, f"\\{character}")
    return cell


def _columns(comparison: Comparison) -> list[_Column]:
    """Return all columns, in the order in which they matter."""
    rows = comparison.rows
    letters = tie_letters(rows)

    def column(title: str, cell: Callable[[Row], str], *, is_text: bool = False) -> _Column:
        return _Column(title, [visible(cell(row)) for row in rows], is_text)

    columns = [
        column("rank", lambda row: _NOTHING if row.rank is None else str(row.rank)),
        column("row", lambda row: row.name, is_text=True),
    ]
    if any(letters.values()):
        columns.append(column("ties", lambda row: letters.get(row.name, ""), is_text=True))
    columns.append(column("ratio to mean", _score))
    fields = sorted({field for row in rows for field in row.errors}, key=_place(rows))
    columns += [
        column(field, lambda row, field=field: _error(row, field))  # type: ignore[misc]
        for field in fields
    ]
    return [
        *columns,
        column("ms/step", _milliseconds),
        column("MiB/step", lambda row: _number(row.step_memory_bytes, 2**20, ",.1f")),
        column("parameters", lambda row: _number(row.parameters, 1, ",.0f")),
        column("tokens/s", lambda row: _number(row.tokens_per_second, 1, ",.0f")),
        column("provider", lambda row: row.provided_by, is_text=True),
    ]


def _place(rows: Sequence[Row]) -> Callable[[str], int]:
    """Return what gives the place of a field: that in which the rows name it."""
    order: dict[str, int] = {}
    for row in rows:
        for field in row.errors:
            order.setdefault(field, len(order))
    return lambda field: order[field]


def _score(row: Row) -> str:
    if row.score is None:
        return _NOTHING if row.status != "failed" else "failed"
    if row.interval is None:
        return f"{row.score:.3f}"
    low, high = row.interval
    return f"{row.score:.3f} [{low:.3f}, {high:.3f}]"


def _error(row: Row, field: str) -> str:
    found = mean_and_spread(row.errors.get(field, ()))
    if found is None:
        return _NOTHING
    mean, deviation = found
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} ± {deviation:.4f}"


def _milliseconds(row: Row) -> str:
    if row.step is not None and not row.step.samples:
        return "busy"  # the pace of its runs, if that is known, had to do with other work too
    if row.seconds_per_step is None:
        return _NOTHING
    median = f"{1e3 * row.seconds_per_step:.1f}"
    if row.step is None or row.step.lower is None or row.step.upper is None:
        return median
    return f"{median} [{1e3 * row.step.lower:.1f}, {1e3 * row.step.upper:.1f}]"


def _number(value: float | None, unit: float, form: str) -> str:
    return _NOTHING if value is None else format(value / unit, form)


def notes(comparison: Comparison) -> list[str]:
    """Return what stands below the table, a paragraph each."""
    return [
        *_about_ties(comparison),
        *_about_rows(comparison.rows),
        *_about_timing(comparison.rows),
        _about_runs(comparison),
    ]


def _about_ties(comparison: Comparison) -> Iterator[str]:
    rows = comparison.rows
    if not any(row.score is not None for row in rows):
        return
    if says_nothing(rows):
        yield (
            "One seed says nothing about differences: all rows are tied. Three seeds or more show "
            "which differences are larger than those between seeds."
        )
        return
    yield (
        "Rows that share a letter are tied: the 95 % bootstrap interval of their difference, seed "
        "by seed, holds 0. The rank is 1 and the number of rows that are better and not tied."
    )


def _about_rows(rows: Sequence[Row]) -> Iterator[str]:
    told: set[str] = set()
    for row in rows:
        if row.same_as and row.name not in told:
            names = [visible(name) for name in (row.name, *row.same_as)]
            told.update((row.name, *row.same_as))
            listed = f"{', '.join(names[:-1])} and {names[-1]}"
            yield (
                f"{listed} are one computation in this model: equal weights give equal outputs, "
                "and what they differ by is due to their seeds."
            )
    for row in rows:
        if row.error:
            what = "failed" if row.status == "failed" else row.status
            yield f"{visible(row.name)} {what}: {visible(row.error)}"


def _about_timing(rows: Sequence[Row]) -> Iterator[str]:
    timed = [row for row in rows if row.step is not None]
    dropped = sum(row.step.dropped for row in timed if row.step is not None)
    kept = sum(row.step.samples for row in timed if row.step is not None)
    if not timed:
        return
    yield (
        f"Times are medians of samples in turns, with quartiles; {dropped} of {dropped + kept} "
        "samples were dropped, since the machine was busy with something else."
    )
    busy = [row.name for row in timed if row.step is not None and not row.step.samples]
    if busy:
        yield f"The machine was busy in all samples of {', '.join(map(visible, busy))}."


def _about_runs(comparison: Comparison) -> str:
    seeds = ", ".join(map(str, comparison.seeds))
    steps = sorted({row.steps for row in comparison.rows if row.steps is not None})
    machine = comparison.machine
    parts = [f"Seeds {seeds}" if len(comparison.seeds) > 1 else f"Seed {seeds}"]
    if steps:
        parts.append(
            f"{steps[0]:,} steps" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,} steps"
        )
    if comparison.budget:
        parts.append(f"budget {visible(comparison.budget)}")
    return f"{'; '.join(parts)}. Machine: {visible(_machine(machine))}; torch {comparison.torch}."


def _machine(machine: Mapping[str, Any]) -> str:
    """Return what of a machine says how fast it is."""
    forms = {
        "processor": "{}",
        "cores": "cores: {}",
        "memory": "memory: {:.0f} GiB",
        "gpu": "{}",
        "gpu_memory": "memory of the GPU: {:.0f} GiB",
        "device": "device: {}",
        "threads": "threads of a run: {}",
        "jobs": "runs at once: {}",
    }
    parts: list[str] = []
    for name, form in forms.items():
        value = machine.get(name)
        if value is not None:
            parts.append(form.format(value / 2**30 if name.endswith("memory") else value))
    return ", ".join(parts)
