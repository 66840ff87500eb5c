"""The true flow around one section on a grid, for pictures."""

import attrs
import numpy as np

from noether_plugins.tasks.airfoil.contours import BoolArray, FloatArray, distances, is_inside
from noether_plugins.tasks.airfoil.dataset import BOX
from noether_plugins.tasks.airfoil.geometry import (
    DEFAULT_PANELS,
    NacaSection,
    naca_contour,
    turn_into_stream,
)
from noether_plugins.tasks.airfoil.panels import PanelFlow, solve

_ON_SURFACE = 1e-6
"""Chords. The velocity is infinite on a node, so points as near as this count as inside."""


@attrs.frozen(eq=False)
class AirfoilField:
    """True flow on a grid over `BOX`, in the frame of the stream.

    Rows go from the bottom up, columns from the left.
    """

    flow: PanelFlow
    """The solved flow, with the outline of the body and Cp there."""

    positions: FloatArray
    """``(rows, columns, 2)``."""

    is_inside: BoolArray
    """``(rows, columns)``: True in the body or on its surface, where there is no flow to show."""

    distances: FloatArray
    """``(rows, columns)``: distance from the surface."""

    velocities: FloatArray
    """``(rows, columns, 2)``: u and v over the free stream; zero inside."""


def evaluate_field(
    section: NacaSection,
    angle_of_attack: float,
    *,
    rows: int = 96,
    columns: int = 120,
    n_panels: int = DEFAULT_PANELS,
) -> AirfoilField:
    """Solve the flow around a section and evaluate it on a grid over `BOX`.

    Args:
        section: The section.
        angle_of_attack: Degrees.
        rows: Grid points in y, at least 2.
        columns: Grid points in x, at least 2.
        n_panels: Panels that the flow is solved with, at least 8.

    Raises:
        ValueError: If a number is too small or *angle_of_attack* is not finite.
    """
    contour = turn_into_stream(naca_contour(section, n_panels), angle_of_attack)
    return evaluate_flow(solve(contour), rows=rows, columns=columns)


def evaluate_flow(flow: PanelFlow, *, rows: int = 96, columns: int = 120) -> AirfoilField:
    """Evaluate a flow on a grid over `BOX`.

    Args:
        flow: The flow, in the frame of the stream.
        rows: Grid points in y, at least 2.
        columns: Grid points in x, at least 2.

    Raises:
        ValueError: If a number is too small.
    """
    for name, value in (("rows", rows), ("columns", columns)):
        if value < 2:  # noqa: PLR2004 (a range has two ends)
            raise ValueError(f"{name}: {value} is too small; give at least 2")
    (left, right), (bottom, top) = BOX
    positions = np.stack(
        np.meshgrid(np.linspace(left, right, columns), np.linspace(bottom, top, rows)), axis=-1
    )

    # a row at a time bounds the memory that panels times points take
    by_row = [_evaluate(flow, row) for row in positions]
    inside, away, velocities = zip(*by_row, strict=True)
    return AirfoilField(
        flow=flow,
        positions=positions,
        is_inside=np.stack(inside),
        distances=np.stack(away),
        velocities=np.stack(velocities),
    )


def _evaluate(flow: PanelFlow, points: FloatArray) -> tuple[BoolArray, FloatArray, FloatArray]:
    """Return which points lie inside, their distances and the velocities there."""
    away = distances(flow.outline, points)
    inside = is_inside(flow.outline, points) | (away < _ON_SURFACE)
    velocities = np.zeros_like(points)
    velocities[~inside] = flow.velocity(points[~inside])
    return inside, away, velocities
