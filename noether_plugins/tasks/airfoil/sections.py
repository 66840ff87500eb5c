"""Sections given by their coordinates: files of them, and lift and pressure of one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import attrs
import numpy as np

from noether_plugins.tasks.airfoil.contours import (
    SHARP,
    BoolArray,
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

    from numpy.typing import ArrayLike, NDArray

_CORNER = np.deg2rad(60.0)
"""Least angle by which a contour turns at the corner of a base."""

_TAIL = np.deg2rad(135.0)
"""Least angle by which it turns at a sharp tail."""

_SHARP_TURN = np.deg2rad(155.0)
"""Where a contour turns by more at its first node, and hardly at its last, no base is between them.
"""

_MOST_POINTS = 4000
"""Every point acts on every other: more would take gigabytes."""

_HIGHEST_BASE = 0.25
"""Chords. An open contour whose ends are farther apart goes around nothing."""


_COMMENTS = ("#", "!")
"""What lines begin with that hold no points."""

_ANGLE = re.compile(r"\s*[#!]+\s*angle[ _]of[ _]attack\s*[:=]\s*(\S*)", re.IGNORECASE)

_BLANKS = " \t,;\x1a\ufeff"
"""What may stand around a point: separators, and the end of file of older systems."""

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

    angle_of_attack: float | None = None
    """Degrees, where a comment says ``angle_of_attack: 4``."""


def flow_around(nodes: ArrayLike, angle: float) -> SectionFlow:
    """Find lift and pressure of a section in ideal flow.

    Args:
        nodes: ``(count, 2)`` corners in chords, x downstream and y up, from the tail over the nose
            and back to it, in either direction. The tail is sharp where the last is the first, and
            blunt where they are apart; a blunt one may repeat the first at the end as well. Any
            may come several times in a row.
        angle: Angle of attack in degrees, positive nose up.

    Returns:
        The lift and the pressure at each node, as `solve` finds them.

    Raises:
        ValueError: If the nodes are no contour of a section, cross each other or begin elsewhere
            than at the tail; or if *angle* is not finite.
    """
    walk = walk_around(nodes)
    flow = solve(turn_into_stream(walk.contour, angle))
    return SectionFlow(flow.lift_of_pressure(), walk.at_nodes(flow.pressure_coefficients))


class Walk(NamedTuple):
    """How nodes go around a section."""

    contour: FloatArray
    """``(panels + 1, 2)``: counter-clockwise from tail to tail, the base of a blunt one open."""

    places: NDArray[np.intp]
    """``(nodes,)``: which node of the contour each one is."""

    def at_nodes(self, values: FloatArray) -> FloatArray:
        """Return values ``(panels + 1, ...)`` on the contour in the order of the nodes."""
        return np.asarray(values[self.places])


def walk_around(nodes: ArrayLike) -> Walk:
    """Find how nodes go around a section, as `flow_around` takes them.

    Raises:
        ValueError: If they are no contour of a section.
    """
    points = np.atleast_1d(np.asarray(nodes, dtype=np.float64))
    if len(points) > _MOST_POINTS:
        raise ValueError(
            f"points: {len(points)} of them, and the flow around at most {_MOST_POINTS} is found; "
            "leave some out"
        )
    is_new = _is_new(points)
    loop = as_contour(points[is_new])
    base = _base_among(loop)
    contour = loop[max(-base, 0) : len(loop) - max(base, 0)]

    numbers = is_new.cumsum() - 1
    if signed_area(points[is_new]) < 0:
        numbers = len(loop) - 1 - numbers
    # What runs along the base comes to its other end.
    return Walk(contour, (numbers - max(-base, 0)) % len(contour))


def _is_new(points: FloatArray) -> BoolArray:
    """Return which points ``(count, ...)`` are other than the one before."""
    is_new = np.ones(len(points), dtype=np.bool_)
    is_new[1:] = (points[1:] != points[:-1]).any(axis=tuple(range(1, points.ndim)))
    return is_new


def _base_among(contour: FloatArray) -> int:
    """Return where a contour runs along its base: -1 at its start, 1 at its end, 0 nowhere.

    Raises:
        ValueError: If the contour crosses itself, is open, or begins elsewhere.
    """
    crossing = first_crossing(contour)
    if crossing is not None:
        one, other = (f"the one from {_place(contour[at])}" for at in crossing)
        raise ValueError(f"points: panels cross or touch, {one} and {other}")
    if not np.array_equal(contour[0], contour[-1]):
        _check_base(contour)
        return 0

    turns = _turns(contour)
    if turns[0] < _TAIL and turns[-1] > _CORNER:
        return 1
    if turns[0] < _TAIL and turns[1] > _CORNER:
        return -1
    sharpest = int(turns.argmax())
    if turns[0] < _CORNER < turns[sharpest]:
        raise ValueError(
            f"points: they begin at {_place(contour[0])}, which is not the tail; "
            f"begin at {_place(contour[sharpest])}"
        )
    return 0


def _check_base(contour: FloatArray) -> None:
    ends = contour[[0, -1]]
    height = float(np.hypot(*(ends[0] - ends[1])))
    chord = float(np.hypot(*(contour - ends.mean(axis=0)).T).max())
    if height > _HIGHEST_BASE * chord:
        raise ValueError(
            f"points: the first, {_place(ends[0])}, and the last, {_place(ends[1])}, are "
            f"{height:.3g} apart; give a contour that goes around a section, from tail to tail"
        )
    if height < SHARP * chord:  # rounded numbers: the tail is sharp, and its ends are one
        return
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
    both from the nose to the tail. A point that follows an equal one is left out, and so is a line
    that begins with ``#`` or ``!``; such a comment may say ``angle_of_attack: 4``.

    Args:
        path: The file.

    Raises:
        ValueError: If the file holds anything else, with its name and the line.
        OSError: If it cannot be opened.
    """
    path = Path(path)
    # Old files have names in the code pages of their time, and ends of lines of three systems.
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    angle = _angle_in(path, lines)
    header, rows = _header_and_rows(path, lines)
    if not rows:
        raise ValueError(f"{path}: it holds no points; give a file of Selig's or Lednicer's format")

    points = np.array([(row.x, row.y) for row in rows])
    if _counts(points[0]):
        upper, lower = (int(count) for count in points[0])
        if upper + lower == len(points) - 1:
            points = np.concatenate([points[1 : upper + 1][::-1], points[upper + 1 :]])
        elif header:
            raise ValueError(
                f"{path}: it says {upper} points above and {lower} below, and holds "
                f"{len(points) - 1}"
            )
        else:  # a name such as 63 215
            header, points = lines[rows[0].line - 1].strip(), points[1:]
    return Section(header or path.stem, points[_is_new(points)], angle)


class _Row(NamedTuple):
    line: int
    x: float
    y: float


def _angle_in(path: Path, lines: list[str]) -> float | None:
    """Return the angle of attack that a comment says, or None."""
    for number, line in enumerate(lines, start=1):
        words = _ANGLE.match(line)
        if words is None:
            continue
        angle = _number(words[1])
        if angle is None or not np.isfinite(angle):
            raise ValueError(
                f"{path}, line {number}: {words[1]!r} is no angle of attack; give it in degrees"
            )
        return angle
    return None


def _header_and_rows(path: Path, lines: list[str]) -> tuple[str, list[_Row]]:
    """Return the name, empty where there is none, and the lines that hold two numbers.

    Notes may stand before the first of these and behind the last, and not between.
    """
    notes: list[tuple[int, str]] = []
    rows: list[_Row] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip(_BLANKS)
        if not text or text.startswith(_COMMENTS):
            continue
        words = re.split(r"[\s,;]+", text)
        values = [value for word in words if (value := _number(word)) is not None]
        if len(values) == len(words) == 2:  # noqa: PLR2004  x and y
            rows.append(_Row(number, *values))
        elif (rows or notes) and _is_faulty(words, values, is_header=not rows):
            raise ValueError(f"{path}, line {number}: {text!r} is no point; give x and y")
        else:
            notes.append((number, text))

    header = [text for number, text in notes if rows and number < rows[0].line]
    between = [note for note in notes if rows and rows[0].line < note[0] < rows[-1].line]
    if between:
        number, text = between[0]
        raise ValueError(f"{path}, line {number}: {text!r} is no point; give x and y")
    for text in header[1:]:
        if text.isdecimal() and int(text) != len(rows):
            raise ValueError(f"{path}: it says {text} points, and holds {len(rows)}")
    return (header or [""])[0], rows


def _is_faulty(words: list[str], values: list[float], *, is_header: bool) -> bool:
    """Return whether a line looks like a point with a slip rather than like a note.

    A header may count points by one number, and bound a grid by four, as files of MSES do.
    """
    if _number(words[0]) is None:
        return False
    if len(values) < len(words):
        return len(words) == 2  # noqa: PLR2004  x and y
    return not is_header or len(words) == 3  # noqa: PLR2004  x, y and one too many


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _counts(first: FloatArray) -> bool:
    """Return whether the first pair of numbers counts points, as in Lednicer's format."""
    return bool((first >= _FEWEST_OF_A_SIDE).all() and (first == first.round()).all())
