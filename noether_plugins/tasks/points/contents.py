"""What the files of a case hold of each group: found, measured, and looked through once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from noether_core.spelling import did_you_mean
from noether_plugins.tasks.points.config import PointsGroup, listed, named
from noether_plugins.tasks.points.formats.source import (
    POSITIONS,
    Arrays,
    File,
    FileFault,
    Place,
    Shape,
    Table,
)

_MOST_NAMES = 12
"""Names that a message lists."""

Kind = Literal["positions", "inputs", "fields"]


class Part(NamedTuple):
    """One of the things that a group is made of."""

    kind: Kind
    name: str
    """Empty for positions."""

    def __str__(self) -> str:
        return self.name or "positions"


Values = Mapping[Part, NDArray[Any]]
"""Of each part ``(points, width)`` numbers."""


@attrs.frozen
class Contents:
    """What a file holds of a group."""

    points: int
    shapes: Mapping[Part, Shape]
    """The width and unit of each part that is there and sound."""

    heights: frozenset[float]
    """Third coordinates of its points: one, or two that show that they differ; or none."""

    hollow: frozenset[Part]
    """Parts without a single finite number."""

    problems: Sequence[str]

    values: Values | None
    """All numbers, where there were few enough to keep."""


class GroupReader:
    """Reads one group from its file.

    Args:
        file: The file.
        group: What in it is what.
        with_fields: Whether the fields are read as well.
    """

    def __init__(self, file: File, group: PointsGroup, *, with_fields: bool = True) -> None:
        positions = listed(group.positions)
        self.place: Place = "cells" if positions == ("cells",) else "points"
        self._table: Table = file.table(self.place)
        if self._table.has_positions and positions in (("points",), ("cells",)):
            positions = (POSITIONS,)

        self.sources: dict[Part, tuple[str, ...]] = {Part("positions", ""): positions}
        self.sources |= {Part("inputs", name): those for name, those in named(group.inputs).items()}
        if with_fields:
            fields = named(group.fields)
            self.sources |= {Part("fields", name): those for name, those in fields.items()}

    def missing(self) -> dict[Part, str]:
        """Return what is not there, with what to do about it."""
        faults: dict[Part, str] = {}
        for part, sources in self.sources.items():
            for source in sources:
                if not self._table.has(source):
                    faults[part] = self._fault_of_missing(part, source)
        return faults

    def _fault_of_missing(self, part: Part, source: str) -> str:
        names = list(self._table.names)
        text = f"{part}: there is no {source!r}"
        if hint := self._table.hint(source):
            return f"{text}; {hint}"
        if close := did_you_mean(source, names):
            return f"{text}; {close}"
        shown = ", ".join(map(repr, names[:_MOST_NAMES])) or "nothing"
        rest = ", and more" if len(names) > _MOST_NAMES else ""
        return f"{text}; there is {shown}{rest}"

    def without(self, parts: Sequence[Part]) -> None:
        """Leave parts out from here on."""
        for part in parts:
            self.sources.pop(part, None)

    def shapes(self, faults: list[str]) -> dict[Part, Shape]:
        """Return the size of all parts; those that have none are left out, and told of."""
        shapes: dict[Part, Shape] = {}
        for part, sources in list(self.sources.items()):
            try:
                shapes[part] = _joined([self._table.shape(source) for source in sources])
            except FileFault as fault:
                faults += [f"{part}: {text}" for text in fault.faults]
                self.without([part])
        return shapes

    def chunks(self, parts: Sequence[Part]) -> Iterator[Values]:
        """Yield some parts, piece by piece."""
        names = self._names(parts)
        for arrays in self._table.chunks(names):
            yield self._gathered(parts, arrays)

    def take(self, rows: NDArray[np.int64]) -> Values:
        """Return some rows of all parts."""
        parts = list(self.sources)
        return self._gathered(parts, self._table.take(self._names(parts), rows))

    def all(self) -> Values:
        """Return all rows of all parts."""
        parts = list(self.sources)
        return joined(list(self.chunks(parts)), parts)

    def where(self, row: int) -> str:
        """Return where a row is, in words."""
        return self._table.where(row)

    def _names(self, parts: Sequence[Part]) -> list[str]:
        return list(dict.fromkeys(name for part in parts for name in self.sources[part]))

    def _gathered(self, parts: Sequence[Part], arrays: Arrays) -> Values:
        values: dict[Part, NDArray[Any]] = {}
        for part in parts:
            columns = [arrays[name] for name in self.sources[part]]
            values[part] = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
        return values


def joined(chunks: Sequence[Values], parts: Sequence[Part]) -> Values:
    """Return pieces of some parts as one."""
    if len(chunks) == 1:
        return chunks[0]
    return {part: np.concatenate([chunk[part] for chunk in chunks]) for part in parts}


def _joined(shapes: Sequence[Shape]) -> Shape:
    """Return the size of arrays side by side.

    Raises:
        FileFault: If their lengths or units differ.
    """
    lengths = {shape.rows for shape in shapes}
    if len(lengths) > 1:
        told = ", ".join(f"{shape.rows:,}" for shape in shapes)
        raise FileFault(f"its parts have different lengths: {told}")
    units = {shape.unit for shape in shapes}
    unit = units.pop() if len(units) == 1 else ""
    return Shape(shapes[0].rows, sum(shape.width for shape in shapes), unit)


def examine(reader: GroupReader, *, most_bytes: int) -> Contents:
    """Look through what a file holds of a group, once.

    Args:
        reader: Reads it.
        most_bytes: Most memory that its numbers may take if they are to be kept.
    """
    missing = reader.missing()
    problems = list(missing.values())
    reader.without(list(missing))
    shapes = reader.shapes(problems)
    problems += _length_faults(shapes)

    # parts of one length are read side by side, which is one pass in all but broken files
    by_rows: dict[int | None, list[Part]] = {}
    for part, shape in shapes.items():
        by_rows.setdefault(shape.rows, []).append(part)
    look = _Look(most_bytes)
    for parts in by_rows.values():
        look.through(reader, parts, problems)
    if shapes and not look.points and not problems:
        problems.append("positions: there are no points")
    is_whole = not problems and len(by_rows) == 1
    return Contents(
        look.points,
        shapes,
        frozenset(look.heights),
        frozenset(look.hollow),
        problems,
        joined(look.kept, list(shapes)) if is_whole and look.kept else None,
    )


def _length_faults(shapes: Mapping[Part, Shape]) -> Iterator[str]:
    positions = shapes.get(Part("positions", ""))
    for part, shape in shapes.items():
        if part.kind == "positions" and not 1 <= shape.width <= 3:  # noqa: PLR2004  a point in space
            yield f"positions: have {shape.width} coordinates, expected 1 to 3"
        if positions is not None and shape.rows != positions.rows:
            yield (f"{part}: has {shape.rows:,} rows, and there are {positions.rows:,} points")


class _Look:
    """One look through numbers: how many there are, which are not finite, and a copy of few."""

    def __init__(self, most_bytes: int) -> None:
        self.points = 0
        self.heights: set[float] = set()
        self.hollow: set[Part] = set()
        self.kept: list[Values] = []
        self._bytes_left = most_bytes

    def through(self, reader: GroupReader, parts: Sequence[Part], problems: list[str]) -> None:
        row = 0
        bad: dict[Part, int] = dict.fromkeys(parts, 0)
        first: dict[Part, str] = {}
        total: dict[Part, int] = dict.fromkeys(parts, 0)
        try:
            for chunk in reader.chunks(parts):
                for part, values in chunk.items():
                    total[part] += values.size
                    is_bad = ~np.isfinite(values)
                    count = int(is_bad.sum())
                    if count and not bad[part]:
                        first[part] = _first_bad(reader, values, is_bad, row)
                    bad[part] += count
                    if part.kind == "positions":
                        self._note_heights(values)
                row += len(next(iter(chunk.values())))
                self._keep(chunk)
        except FileFault as fault:
            problems += fault.faults
        for part in parts:
            if bad[part] and bad[part] == total[part]:
                self.hollow.add(part)
            if bad[part]:
                problems.append(
                    f"{part}: {bad[part]:,} of {total[part]:,} values are not finite; "
                    f"the first, {first[part]}"
                )
        self.points = max(self.points, row)

    def _note_heights(self, positions: NDArray[Any]) -> None:
        if positions.shape[1] == 3 and len(positions) and len(self.heights) < 2:  # noqa: PLR2004
            heights = positions[:, 2]
            self.heights |= {float(heights.min()), float(heights.max())}

    def _keep(self, chunk: Values) -> None:
        self._bytes_left -= sum(values.nbytes for values in chunk.values())
        if self._bytes_left >= 0:
            # what looks into a file that is mapped is copied, so that it is kept in fact
            self.kept.append({part: np.array(values) for part, values in chunk.items()})
        else:
            self.kept = []


def _first_bad(reader: GroupReader, values: NDArray[Any], is_bad: NDArray[Any], row: int) -> str:
    inner, column = np.unravel_index(int(is_bad.argmax()), is_bad.shape)
    number = float(values[inner, column])
    component = f", component {column}" if values.shape[1] > 1 else ""
    return f"{number}, is at {reader.where(row + int(inner))}{component}"
