"""The tables of a report, which are there without scripts: runs, comparisons, configs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from noether_plugins.comparison.record import Comparison, Row
from noether_plugins.comparison.statistics import mean_and_spread
from noether_plugins.comparison.table import notes
from noether_plugins.comparison.ties import tie_letters
from noether_plugins.report.folders import ComparisonFolder
from noether_plugins.report.markup import (
    MISSING,
    Cell,
    Column,
    TableRow,
    number,
    table,
    text,
    whole,
    written,
)
from noether_plugins.report.runs import RunFacts, mapping_in, number_in

_MILLI, _MEBI = 1e3, 2.0**-20


def runs_table(runs: Sequence[RunFacts]) -> str:
    """Return the table of all runs."""
    fields = list(dict.fromkeys(field for run in runs for field in run.errors))
    columns = [
        Column("Run"),
        Column("Task"),
        Column("Attention"),
        Column("State"),
        Column("Error ratio", is_number=True, unit="to mean"),
        *(Column(field, is_number=True, unit="rel. L2") for field in fields),
        Column("Step", is_number=True, unit="ms"),
        Column("Memory", is_number=True, unit="MiB"),
        Column("Parameters", is_number=True),
    ]
    rows = [_run_row(run, place, fields) for place, run in enumerate(runs)]
    return table("Runs", columns, rows, name="runs-table", classes="data")


def _run_row(run: RunFacts, place: int, fields: Sequence[str]) -> TableRow:
    result = run.result
    cells = [
        Cell(run.name),
        Cell(run.task or MISSING),
        Cell(run.attention or MISSING, note=run.provider),
        Cell(run.state, note=_steps(run)),
        number(run.ratio, digits=3),
        *(number(run.errors.get(field)) for field in fields),
        number(number_in(result, "seconds_per_step"), digits=3, scale=_MILLI),
        number(number_in(result, "step_memory_bytes"), digits=3, scale=_MEBI),
        whole(number_in(result, "parameters")),
    ]
    return TableRow(cells, runs=(place,), state=run.state)


def _steps(run: RunFacts) -> str:
    done = number_in(run.result, "steps")
    if done is None:
        return ""
    if run.steps_in_all is None or done == run.steps_in_all:
        return f"{done:,.0f} steps"
    return f"{done:,.0f} of {run.steps_in_all:,.0f} steps"


def problems_list(problems: Mapping[str, str]) -> str:
    """Return what is wrong with runs or rows by name, as a list; nothing where all is well."""
    if not problems:
        return ""
    items = "\n".join(
        f"<dt>{text(name)}</dt><dd><pre>{text(problem)}</pre></dd>"
        for name, problem in problems.items()
    )
    return f'<dl class="problems">{items}</dl>'


def comparison_table(
    found: ComparisonFolder, places: Mapping[Path, int], name: str, *, caption: str
) -> str:
    """Return the table of a comparison's rows.

    Args:
        found: The comparison.
        places: Number of each run in the report, by its folder.
        name: By which the page's scripts know the table.
        caption: What it shows.
    """
    comparison = found.comparison
    if comparison is None:
        return ""
    fields = list(dict.fromkeys(field for row in comparison.rows for field in row.errors))
    columns = [
        Column("Variant"),
        Column("Rank", is_number=True),
        Column("Error ratio", is_number=True, unit="to mean, 95 %"),
        *(Column(field, is_number=True, unit="rel. L2") for field in fields),
        Column("Step", is_number=True, unit="ms"),
        Column("Memory", is_number=True, unit="MiB"),
        Column("Parameters", is_number=True),
        Column("Tokens", is_number=True, unit="per s"),
        Column("Ties"),
        Column("Same as", is_wide=True),
    ]
    letters = tie_letters(comparison.rows)
    rows: list[TableRow] = []
    for row, folders in zip(comparison.rows, found.runs, strict=True):
        runs = [places[folder] for folder in folders if folder in places]
        rows.append(_comparison_row(row, runs, fields, letters.get(row.name, "")))
    return table(caption, columns, rows, name=name, classes="data")


def _comparison_row(row: Row, runs: Sequence[int], fields: Sequence[str], letters: str) -> TableRow:
    provider = row.provided_by
    state = "" if row.status == "complete" else row.status
    cells = [
        Cell(row.name, note=f"{state}; {provider}" if state else provider),
        whole(row.rank),
        _score(row),
        *(_spread(row.errors.get(field, ())) for field in fields),
        _time(row),
        number(row.step_memory_bytes, digits=3, scale=_MEBI),
        whole(row.parameters),
        whole(row.tokens_per_second),
        Cell(letters),
        Cell(", ".join(row.same_as)),
    ]
    return TableRow(cells, runs=runs, state=row.status)


def _score(row: Row) -> Cell:
    cell = number(row.score, digits=3)
    if row.interval is None:
        return cell
    low, high = (written(each, 3) for each in row.interval)
    return cell._replace(note=f"{low} to {high}")


def _spread(errors: Sequence[float | None]) -> Cell:
    """Return the mean over seeds, with the standard deviation where there are several."""
    found = mean_and_spread(errors)
    if found is None:
        return Cell(MISSING)
    mean, deviation = found
    cell = number(mean)
    return cell if deviation is None else cell._replace(note=f"± {deviation:.4f}")


def _time(row: Row) -> Cell:
    cell = number(row.seconds_per_step, digits=3, scale=_MILLI)
    step = row.step
    if step is None or step.lower is None or step.upper is None:
        return cell
    low, high = (written(each * _MILLI, 3) for each in (step.lower, step.upper))
    return cell._replace(note=f"{low} to {high}")


def comparison_notes(comparison: Comparison) -> str:
    """Return what has to be said of a comparison's table, as paragraphs."""
    return "\n".join(f'<p class="hint">{text(note)}</p>' for note in notes(comparison))


def comparison_facts(comparison: Comparison) -> str:
    """Return what a comparison was made of, as a list of facts."""
    facts = {
        "Task": str(mapping_in(comparison.experiment, "task").get("type", "")),
        "Seeds": ", ".join(map(str, comparison.seeds)),
        "Budget": comparison.budget or "",
        "Command": comparison.command,
        "Made": f"{comparison.created}, noether {comparison.noether}, torch {comparison.torch}",
    }
    return facts_list(facts)


def facts_list(facts: Mapping[str, str]) -> str:
    """Return facts by name as a list, those that are empty left out."""
    items = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>"
        for name, value in facts.items()
        if value
    )
    return f'<dl class="facts">{items}</dl>'


def scaling_table(comparison: Comparison, name: str, *, caption: str) -> str:
    """Return the fitted exponents of each row; nothing where none was measured."""
    rows = list(_scaling_rows(comparison))
    if not rows:
        return ""
    columns = [
        Column("Variant"),
        Column("Time", is_number=True, unit="exponent"),
        Column("Memory", is_number=True, unit="exponent"),
        Column("Most tokens", is_number=True),
        Column("Time there", is_number=True, unit="ms"),
        Column("Memory there", is_number=True, unit="MiB"),
    ]
    return table(caption, columns, rows, name=name, classes="data")


def _scaling_rows(comparison: Comparison) -> Iterator[TableRow]:
    for row in comparison.rows:
        scaling = row.scaling
        if scaling is None or not scaling.tokens:
            continue
        cells = [
            Cell(row.name),
            number(scaling.time_exponent, digits=3),
            number(scaling.memory_exponent, digits=3),
            whole(scaling.tokens[-1]),
            number(scaling.seconds[-1], digits=3, scale=_MILLI),
            number(scaling.bytes[-1], digits=3, scale=_MEBI),
        ]
        yield TableRow(cells)


def config_details(run: RunFacts) -> str:
    """Return the options of a run's experiment, folded."""
    rows = [TableRow([Cell(path), Cell(value)]) for path, value in run.options().items()]
    if not rows:
        return ""
    columns = [Column("Option"), Column("Value", is_wide=True)]
    options = table(f"Config of {run.name}", columns, rows, name="", classes="options")
    return f"<details><summary>{text(run.name)}</summary>{options}</details>"
