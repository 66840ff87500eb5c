"""Sections given by their coordinates: files of them, and lift and pressure of one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import attrs
import numpy as np

from noether_plugins.tasks.airfoil.contours import (
    FloatArray,
    as_contour,
    first_crossing,
    outline,
    signed_area,
    to_complex,
)
from noether_plugins.tasks.airfoil.geometry import turn_into_stream
from noether_plugins.tasks.airfoil.panels import solve

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

_CORNER = np.deg2rad(60.0)
"""Least angle by which a contour turns at the corner of a base."""

_TAIL = np.deg2rad(135.0)
"""Least angle by which it turns at a sharp tail."""

_SHARP_TURN = np.deg2rad(155.0)
"""Where a contour turns by more at its first node, and hardly at its last, no base is between them.
"""

_HIGHEST_BASE = 0.25
"""Chords. An open contour whose ends are farther apart goes around nothing."""


_NAME_LINES = 1
"""Lines that may hold something else than points, at the start of a file."""

_FEWEST_OF_A_SIDE = 3
"""Two whole numbers of at least this count points; coordinates are of the order of a chord."""


@attrs.frozen(eq=False)
class SectionFlow:
    """What the ideal flow does to a section, the free stream of speed 1."""

    lift: float
    """Lift over dynamic pressure, for a chord of 1: the pressure over the surface and the base."""

    pressure: FloatArray
    """``(nodes,)``: pressure coefficients Cp, in the order of the nodes."""


class Section(NamedTuple):
    """A section as a file gives it."""

    name: str
    """What its first line says."""

    nodes: FloatArray
    """``(count, 2)`` in chords, from the upper tail over the nose to the lower tail."""


def flow_around(nodes: ArrayLike, angle: float) -> SectionFlow:
    """Find lift and pressure of a section in ideal flow.

    Args:
        nodes: ``(count, 2)`` corners in chords, x downstream and y up, from the tail over the nose
            and back to it, in either direction. The tail is sharp where the last is the first, and
            blunt where they are apart; a blunt one may repeat the first at the end as well.
        angle: Angle of attack in degrees, positive nose up.

    Returns:
        The lift and the pressure at each node, as `solve` finds them.

    Raises:
        ValueError: If the nodes are no contour of a section, cross each other or begin elsewhere
            than at the tail; or if *angle* is not finite.
    """
    contour = as_contour(nodes)
    is_turned = signed_area(np.asarray(nodes, dtype=np.float64)) < 0
    given = _around_section(contour)
    flow = solve(turn_into_stream(contour[given], angle))

    pressure = np.empty(len(contour))
    pressure[given] = flow.pressure_coefficients
    # A blunt contour that repeats its first node has the pressure of that node there.
    if given.start:
        pressure[0] = pressure[-1]
    elif given.stop is not None:
        pressure[-1] = pressure[0]
    return SectionFlow(flow.lift_of_pressure(), pressure[::-1] if is_turned else pressure)


def _around_section(contour: FloatArray) -> slice:
    """Return which nodes go from tail to tail, without a base that the contour runs along.

    Raises:
        ValueError: If the contour crosses itself, is open, or begins elsewhere.
    """
    crossing = first_crossing(contour)
    if crossing is not None:
        one, other = (f"the one from {_place(contour[at])}" for at in crossing)
        raise ValueError(f"points: panels cross or touch, {one} and {other}")
    if not np.array_equal(contour[0], contour[-1]):
        _check_base(contour)
        return slice(0, None)

    turns = _turns(contour)
    if turns[0] < _TAIL and turns[-1] > _CORNER:
        return slice(0, -1)
    if turns[0] < _TAIL and turns[1] > _CORNER:
        return slice(1, None)
    sharpest = int(turns.argmax())
    if turns[0] < _CORNER < turns[sharpest]:
        raise ValueError(
            f"points: they begin at {_place(contour[0])}, which is not the tail; "
            f"begin at {_place(contour[sharpest])}"
        )
    return slice(0, None)


def _check_base(contour: FloatArray) -> None:
    ends = contour[[0, -1]]
    height = float(np.hypot(*(ends[0] - ends[1])))
    chord = float(np.hypot(*(contour - ends.mean(axis=0)).T).max())
    if height > _HIGHEST_BASE * chord:
        raise ValueError(
            f"points: the first, {_place(ends[0])}, and the last, {_place(ends[1])}, are "
            f"{height:.3g} apart; give a contour that goes around a section, from tail to tail"
        )
    turns = _turns(outline(contour))
    if turns[0] > _SHARP_TURN and turns[-1] < np.pi - _SHARP_TURN:
        raise ValueError(
            f"points: the tail at {_place(ends[0])} is sharp, and the last point, "
            f"{_place(ends[1])}, is short of it; repeat the first point at the end"
        )


def _turns(loop: FloatArray) -> FloatArray:
    """Return by how much a closed contour turns at each node but its last, 0 to pi."""
    spans = np.diff(to_complex(loop))
    return np.abs(np.angle(spans * np.roll(spans, 1).conj()))


def _place(point: FloatArray) -> str:
    x, y = point.round(6) + 0.0  # the sign of zero says nothing
    return f"({x:g}, {y:g})"


def read_section(path: str | os.PathLike[str]) -> Section:
    """Return the section of a file of coordinates, in the format of Selig or of Lednicer.

    Both have a name in their first line, and a point in each other. Selig's run from the upper tail
    over the nose to the lower tail; Lednicer's say how many are above and how many below, and give
    both from the nose to the tail. A point that follows an equal one is left out.

    Args:
        path: The file.

    Raises:
        ValueError: If the file holds anything else, with its name and the line.
        OSError: If it cannot be opened.
    """
    path = Path(path)
    # Old files have names in the code pages of their time.
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = list(_rows(path, lines))
    if not rows:
        raise ValueError(f"{path}: it holds no points; give a file of Selig's or Lednicer's format")
    first = rows[0].line - 1
    name = next((line.strip() for line in lines[:first] if line.strip()), path.stem)

    upper = rows[0].x
    points = np.array([(row.x, row.y) for row in rows])
    if _counts(points[0]):
        points = _joined(path, points[1:], int(upper), int(rows[0].y))
    is_new = np.append(True, (np.diff(points, axis=0) != 0).any(axis=1))
    return Section(name, points[is_new])


class _Row(NamedTuple):
    line: int
    x: float
    y: float


def _rows(path: Path, lines: list[str]) -> Iterator[_Row]:
    """Yield the lines that hold two numbers, after those that hold the name."""
    begun = False
    for number, line in enumerate(lines, start=1):
        words = re.split(r"[\s,]+", line.strip(" \t,\x1a"))
        if words == [""]:
            continue
        try:
            x, y = map(float, words)
        except ValueError:
            if not begun and number <= _NAME_LINES:
                continue
            raise ValueError(
                f"{path}, line {number}: {line.strip()!r} is no point; give x and y"
            ) from None
        begun = True
        yield _Row(number, x, y)


def _counts(first: FloatArray) -> bool:
    """Return whether the first pair of numbers counts points, as in Lednicer's format."""
    return bool((first >= _FEWEST_OF_A_SIDE).all() and (first == first.round()).all())


def _joined(path: Path, points: FloatArray, upper: int, lower: int) -> FloatArray:
    """Return the points of two sides, both from the nose on, as one contour."""
    if len(points) != upper + lower:
        raise ValueError(
            f"{path}: it says {upper} points above and {lower} below, and holds {len(points)}"
        )
    return np.concatenate([points[:upper][::-1], points[upper:]])
