"""Names beside what they name in a picture, none over another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

_HALO = (withStroke(linewidth=2.2, foreground="white"),)
"""Around names, so that they can be read over lines."""

_INCHES_OFF = 0.25
"""Between a panel and the names beside it."""

_LINE = 1.25
"""Height of a line, over the size of its font."""

_DIRECTIONS = (0, 45, -45, 90, -90, 135, -135, 180)
"""Degrees at which a label is tried, seen from its point; the first that is free is taken."""

_DISTANCES = (7, 14, 24, 38, 56, 78)
"""Points between them."""


class Label(NamedTuple):
    """A name, and what it stands beside."""

    text: str
    x: float
    y: float
    colour: str


def beside_lines(axes: Axes, labels: Sequence[Label], *, size: float) -> None:
    """Write names of lines behind their ends, right of the axes, in the order of the ends.

    A thin line leads from each end to its name, which may stand higher or lower.
    """
    if not labels:
        return
    axes.get_ylim()  # which only now are those of all that was drawn
    width, height = axes.get_window_extent().width, axes.get_window_extent().height
    per_line = min(size * _LINE * axes.figure.dpi / 72, height / len(labels))
    size = per_line / _LINE * 72 / axes.figure.dpi
    ordered = sorted(labels, key=lambda label: _across(axes, label)[1])
    wanted = [_across(axes, label)[1] * height for label in ordered]
    for label, place in zip(ordered, _spread(wanted, per_line, height), strict=True):
        x, y = _across(axes, label)
        axes.annotate(
            label.text,
            xy=(x, y),
            xytext=(1 + _INCHES_OFF * axes.figure.dpi / width, place / height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            fontsize=size,
            va="center",
            color="#222222",
            annotation_clip=False,
            path_effects=_HALO,
            arrowprops={
                "arrowstyle": "-",
                "color": label.colour,
                "linewidth": 0.7,
                "relpos": (0, 0.5),  # of the name, the middle of its left side
                "shrinkA": 1,
                "shrinkB": 3,
            },
        )


def _across(axes: Axes, label: Label) -> tuple[float, float]:
    """Return where something is, in shares of the axes."""
    to_axes = axes.transData + axes.transAxes.inverted()
    x, y = to_axes.transform((label.x, label.y))
    return float(x), float(y)


def _spread(wanted: Sequence[float], gap: float, height: float) -> list[float]:
    """Return sorted places at least *gap* apart, near those that are wanted.

    Places that are too close become a block around their mean, and blocks that meet one block.
    """
    blocks: list[list[float]] = []  # of each the places that its members want
    for place in wanted:
        blocks.append([place])
        while len(blocks) > 1 and _start(blocks[-1], gap) < _end(blocks[-2], gap):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    places: list[float] = []
    for block in blocks:
        places += [_start(block, gap) + gap * (0.5 + number) for number in range(len(block))]
    over = max(0.0, places[-1] + gap / 2 - height)
    return [place - over for place in places]


def _start(block: Sequence[float], gap: float) -> float:
    return max(0.0, float(np.mean(block)) - gap * len(block) / 2)


def _end(block: Sequence[float], gap: float) -> float:
    return _start(block, gap) + gap * len(block)


def beside_points(axes: Axes, labels: Sequence[Label], *, size: float) -> None:
    """Write names beside points, each where it covers neither a point nor another name.

    Where all that is near is taken, a thin line leads from the point to its name.
    """
    figure = axes.figure
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    pixels = figure.dpi / 72
    axes.get_ylim()  # which only now are those of all that was drawn
    points = [axes.transData.transform((label.x, label.y)) for label in labels]
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in points]
    inside = axes.get_window_extent()
    for label, (x, y) in zip(labels, points, strict=True):
        drawn = axes.annotate(
            label.text,
            xy=(label.x, label.y),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=size,
            color="#222222",
            ha="center",
            va="center",
            path_effects=_HALO,
        )
        box = drawn.get_window_extent(renderer)
        place, distance = _free_place(box, (x, y), taken, inside, pixels)
        taken.append(place)
        centre = ((place.x0 + place.x1) / 2, (place.y0 + place.y1) / 2)
        drawn.set_position(((centre[0] - x) / pixels, (centre[1] - y) / pixels))
        if distance > _DISTANCES[1]:
            nearest = (np.clip(x, place.x0, place.x1), np.clip(y, place.y0, place.y1))
            axes.annotate(
                "",
                xy=(label.x, label.y),
                xytext=((nearest[0] - x) / pixels, (nearest[1] - y) / pixels),
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": label.colour, "linewidth": 0.7},
            )


def _free_place(
    box: Bbox,
    point: tuple[float, float],
    taken: Sequence[Bbox],
    inside: Bbox,
    pixels: float,
) -> tuple[Bbox, float]:
    """Return where a box fits around a point, and how far off it is; the least bad one if none."""
    best: tuple[float, Bbox, float] | None = None
    for distance in _DISTANCES:
        for degrees in _DIRECTIONS:
            across, up = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
            x = point[0] + across * (distance * pixels + box.width / 2)
            y = point[1] + up * (distance * pixels + box.height / 2)
            place = Bbox.from_bounds(x - box.width / 2, y - box.height / 2, box.width, box.height)
            covered = sum(_overlap(place, other) for other in taken)
            covered += place.width * place.height - _overlap(place, inside)
            if covered <= 0:
                return place, distance
            if best is None or covered < best[0]:
                best = covered, place, distance
    if best is None:
        raise AssertionError
    return best[1], best[2]


def _overlap(first: Bbox, second: Bbox) -> float:
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    return float(max(0.0, width) * max(0.0, height))
