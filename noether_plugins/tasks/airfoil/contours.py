"""Closed contours: loops of straight panels around a body, and where points lie beside them."""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]
ComplexArray: TypeAlias = NDArray[np.complex128]
BoolArray: TypeAlias = NDArray[np.bool_]

MIN_PANELS = 8
"""Fewest panels of a contour: the flow around fewer corners resembles that of no smooth body."""


def close_contour(points: ArrayLike) -> FloatArray:
    """Make a panel loop of points that go once around a body.

    Args:
        points: ``(count, 2)`` corners in order, in either direction, the first at the trailing
            edge. The first may be repeated at the end. The loop must not cross itself, which is not
            checked.

    Returns:
        ``(panels + 1, 2)`` nodes, counter-clockwise; the last is the first, exactly.

    Raises:
        ValueError: If *points* has another shape, holds NaN or infinity, has too few corners,
            repeats one at once or encloses no area.
    """
    nodes = np.array(points, dtype=np.float64)
    if nodes.ndim != 2 or nodes.shape[1] != 2:  # noqa: PLR2004 (a plane has two coordinates)
        raise ValueError(f"points: shape {nodes.shape}, expected (count, 2)")
    if not np.isfinite(nodes).all():
        raise ValueError("points: NaN or infinity among them; a contour needs finite coordinates")
    if len(nodes) and not np.array_equal(nodes[0], nodes[-1]):
        nodes = np.concatenate([nodes, nodes[:1]])
    _check_panels(nodes)
    return nodes if signed_area(nodes) > 0 else nodes[::-1].copy()


def _check_panels(nodes: FloatArray) -> None:
    n_panels = max(len(nodes) - 1, 0)
    if n_panels < MIN_PANELS:
        raise ValueError(f"points: {n_panels} panels, expected at least {MIN_PANELS}; add points")
    repeated = np.flatnonzero((np.diff(nodes, axis=0) == 0).all(axis=1))
    if repeated.size:
        raise ValueError(
            f"points: points {repeated[0]} and {repeated[0] + 1} coincide; drop one of them"
        )
    if signed_area(nodes) == 0:
        raise ValueError("points: they enclose no area; give a contour that goes around a body")


def to_complex(points: FloatArray) -> ComplexArray:
    """Return points ``(..., 2)`` as complex numbers ``x + i y`` of shape ``(...)``."""
    return np.asarray(points[..., 0] + 1j * points[..., 1], dtype=np.complex128)


def signed_area(nodes: FloatArray) -> float:
    """Return the area that a loop encloses, positive when it runs counter-clockwise."""
    # relative to a corner, so that a far-away body loses no digits
    z = to_complex(nodes - nodes[0])
    return float(0.5 * (z[:-1].conj() * z[1:]).imag.sum())


def panel_lengths(nodes: FloatArray) -> FloatArray:
    """Return the lengths ``(panels,)`` of the panels between the nodes."""
    return np.abs(np.diff(to_complex(nodes)))


def node_normals(nodes: FloatArray) -> FloatArray:
    """Return outward unit normals ``(panels + 1, 2)`` at the nodes of a counter-clockwise loop.

    Central differences over arc length, second order where the contour is smooth; the first and the
    last node have the normals of their own panels, so that a sharp trailing edge keeps its two
    sides.
    """
    arc = np.concatenate([[0.0], np.cumsum(panel_lengths(nodes))])
    dx, dy = (np.gradient(nodes[:, axis], arc) for axis in range(2))
    return np.stack([dy, -dx], axis=1) / np.hypot(dx, dy)[:, None]


def is_inside(nodes: FloatArray, points: FloatArray) -> BoolArray:
    """Return which points lie inside a loop.

    Args:
        nodes: ``(panels + 1, 2)`` closed loop.
        points: ``(count, 2)``.

    Returns:
        ``(count,)``, True inside: a ray from there to the right crosses an odd number of panels.
    """
    x, y = points[:, :1], points[:, 1:]
    (x0, y0), (x1, y1) = nodes[:-1].T, nodes[1:].T
    spans_y = (y0 <= y) != (y1 <= y)
    is_left = (x1 - x0) * (y - y0) > (x - x0) * (y1 - y0)
    crosses = spans_y & (is_left == (y1 > y0))
    return np.asarray(crosses.sum(axis=1) % 2 == 1)


def distances(nodes: FloatArray, points: FloatArray) -> FloatArray:
    """Return the distances ``(count,)`` from points ``(count, 2)`` to the nearest panel of a loop.

    Points may lie inside or outside.
    """
    z = to_complex(nodes)
    spans = np.diff(z)

    # the frame of each panel: 0 where it starts, 1 where it ends
    along = (to_complex(points)[:, None] - z[:-1]) / spans
    nearest = along.real.clip(0.0, 1.0)
    return np.asarray((np.abs(along - nearest) * np.abs(spans)).min(axis=1))
