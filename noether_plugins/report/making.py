"""How a report is made: what the folders hold is read, predicted, and written as one file."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import noether_core
from noether_core.quoting import visible
from noether_core.tasks import write_whole
from noether_plugins.report.arrays import Arrays
from noether_plugins.report.assembly import Page, Section, page
from noether_plugins.report.fields import (
    HeldOut,
    NoFields,
    ShownFields,
    predict_fields,
    thinned,
)
from noether_plugins.report.folders import ComparisonFolder, Found, ReportError, find
from noether_plugins.report.page_data import comparison_data, run_data
from noether_plugins.report.runs import RunFacts, read_facts
from noether_plugins.report.tables import (
    comparison_facts,
    comparison_notes,
    comparison_table,
    config_details,
    problems_list,
    runs_table,
    scaling_table,
)

_POINTS = 1_000
"""Points of a group that are shown where nothing else is asked for."""

_FEWEST_POINTS = 100
"""Points that are shown however many runs there are."""

_MOST_FIELD_BYTES = 2_200_000
"""Bytes of fields in a file, beyond which fewer points are shown where no number is asked for;
the library that draws takes 2 MB more, and the whole is to stay below 5 MB."""

_BYTES_PER_NUMBER = 8 / 3
"""Of 16 bits in base64."""


class Wish(NamedTuple):
    """What the command line asks for."""

    folders: tuple[Path, ...]
    output: Path
    overwrite: bool
    samples: int
    """Held-out samples of each run."""

    points: int | None
    """Points of each group; None for as many as the file can hold."""


def make_report(wish: Wish) -> int:
    """Write the report that is asked for, and say where; return the exit status.

    Raises:
        ReportError: If a folder holds neither runs nor comparisons, or the file is there already
            or cannot be written.
    """
    _check_output(wish)
    found = find(wish.folders)
    runs = [read_facts(each.folder, each.name) for each in found.runs]
    fields = _predicted(runs, wish)
    content = page(_page(found, runs, fields))
    _write(wish, content)

    size = len(content.encode()) / 1e6
    number = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    print(f"written to {visible(str(wish.output))}, {number} in {size:.1f} MB")
    return 0


def _check_output(wish: Wish) -> None:
    """Refuse before the work what could not be written after it."""
    output = wish.output
    if output.is_dir():
        raise ReportError(f"{output}: is a folder; name a file with --output")
    if not output.parent.is_dir():
        raise ReportError(f"{output}: there is no folder {output.parent}")
    if os.path.lexists(output) and not wish.overwrite:
        remedy = "name another file with --output, or say --overwrite"
        raise ReportError(f"{output}: is there already; {remedy}")


def _write(wish: Wish, content: str) -> None:
    _check_output(wish)  # again: it may have come meanwhile
    try:
        write_whole(wish.output, content)
    except OSError as error:
        raise ReportError(f"{wish.output}: cannot be written: {error.strerror}") from error


def _predicted(runs: Sequence[RunFacts], wish: Wish) -> list[ShownFields | NoFields]:
    """Return the fields of each run, of so many points that the file stays small."""
    if not wish.samples:
        return [NoFields("none were asked for: --samples 0", is_fault=False)] * len(runs)
    most = _POINTS if wish.points is None else wish.points
    held_out = HeldOut(wish.samples)
    fields: list[ShownFields | NoFields] = []
    for place, run in enumerate(runs, start=1):
        print(f"{place} of {len(runs)}: {visible(run.name)}", file=sys.stderr, flush=True)
        fields.append(_fields_of(run, held_out, most))

    size = _size(fields)
    if wish.points is not None or size <= _MOST_FIELD_BYTES:
        return fields
    fewer = max(_FEWEST_POINTS, int(most * _MOST_FIELD_BYTES / size))
    return [thinned(each, fewer) if isinstance(each, ShownFields) else each for each in fields]


def _fields_of(run: RunFacts, held_out: HeldOut, points: int) -> ShownFields | NoFields:
    if run.state == "unfinished":
        return NoFields("the run is not over", is_fault=False)
    if run.problem:
        return NoFields(run.problem)
    return predict_fields(run.folder, held_out, points=points)


def _size(fields: Sequence[ShownFields | NoFields]) -> float:
    arrays = Arrays()
    for each in fields:
        if isinstance(each, ShownFields):
            run_data(RunFacts(name="", folder=Path(), state=""), each, arrays)
    return _BYTES_PER_NUMBER * arrays.numbers


def _page(found: Found, runs: Sequence[RunFacts], fields: Sequence[ShownFields | NoFields]) -> Page:
    places = {each.folder: place for place, each in enumerate(found.runs)}
    arrays = Arrays()
    run_parts = [run_data(run, each, arrays) for run, each in zip(runs, fields, strict=True)]
    sections = [_section(each, places, number) for number, each in enumerate(found.comparisons)]
    data = {
        "runs": run_parts,
        "comparisons": [section.data for section in sections],
        "arrays": arrays.packed,
    }
    return Page(
        title=_title(found),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, noether {noether_core.__version__}",
        comparisons=sections,
        runs=runs_table(runs),
        problems=problems_list(_problems(runs, fields)),
        configs="\n".join(map(config_details, runs)),
        data=data,
    )


def _title(found: Found) -> str:
    comparisons = [each.name for each in found.comparisons]
    if comparisons:
        return ", ".join(comparisons)
    names = [each.name for each in found.runs]
    return names[0] if len(names) == 1 else f"{len(names)} runs"


def _problems(runs: Sequence[RunFacts], fields: Sequence[ShownFields | NoFields]) -> dict[str, str]:
    """Return why not all is shown of runs, by name."""
    problems: dict[str, str] = {}
    for run, shown in zip(runs, fields, strict=True):
        if run.problem:
            problems[run.name] = run.problem
        elif isinstance(shown, NoFields) and shown.is_fault:
            problems[run.name] = f"no fields: {shown.reason}"
        elif isinstance(shown, ShownFields) and shown.note:
            problems[run.name] = shown.note
    return problems


def _section(found: ComparisonFolder, places: Mapping[Path, int], number: int) -> Section:
    comparison, name = found.comparison, f"comparison-{number}"
    if comparison is None:
        problems = problems_list({found.name: found.problem})
        return Section(found.name, name, "", "", "", "", problems, {})
    runs = [[places[each] for each in folders if each in places] for folders in found.runs]
    failed = {row.name: row.error for row in comparison.rows if row.error}
    return Section(
        title=found.name,
        name=name,
        facts=comparison_facts(comparison),
        table=comparison_table(found, places, f"{name}-table", caption=f"Variants in {found.name}"),
        notes=comparison_notes(comparison),
        scaling=scaling_table(
            comparison, f"{name}-scaling-table", caption=f"Growth with tokens in {found.name}"
        ),
        problems=problems_list(failed),
        data=comparison_data(comparison, runs),
    )
