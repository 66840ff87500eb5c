"""Contours: straight panels around a body, and where points lie beside them."""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_banded

FloatArray: TypeAlias = NDArray[np.float64]
ComplexArray: TypeAlias = NDArray[np.complex128]
BoolArray: TypeAlias = NDArray[np.bool_]

MIN_PANELS = 8
"""Fewest panels of a contour: the flow around fewer corners resembles that of no smooth body."""


SHARP = 1e-4
"""Height of a base, over the length of the body, below which a tail counts as sharp."""


def as_contour(points: ArrayLike) -> FloatArray:
    """Make panels of points that go once around a body.

    Args:
        points: ``(count, 2)`` corners in order, in either direction, from the trailing edge to the
            trailing edge. Where the last is not the first, the tail is blunt, and its base is open.

    Returns:
        ``(panels + 1, 2)`` nodes, counter-clockwise.

    Raises:
        ValueError: If *points* has another shape, holds NaN or infinity, has too few corners,
            repeats one at once or encloses no area.
    """
    nodes = _checked(points)
    return nodes if signed_area(nodes) > 0 else nodes[::-1].copy()


def close_contour(points: ArrayLike) -> FloatArray:
    """Make a panel loop of points that go once around a body, with a panel that closes it.

    Args:
        points: ``(count, 2)`` corners in order, in either direction, the first at the trailing
            edge. The first may be repeated at the end.

    Returns:
        ``(panels + 1, 2)`` nodes, counter-clockwise; the last is the first, exactly.

    Raises:
        ValueError: As `as_contour`.
    """
    nodes = np.array(points, dtype=np.float64)
    return as_contour(outline(nodes) if len(nodes) else nodes)


def outline(nodes: FloatArray) -> FloatArray:
    """Return the loop of a contour, the base of a blunt tail included."""
    return nodes if np.array_equal(nodes[0], nodes[-1]) else np.concatenate([nodes, nodes[:1]])


def _checked(points: ArrayLike) -> FloatArray:
    nodes = np.array(points, dtype=np.float64)
    if nodes.ndim != 2 or nodes.shape[1] != 2:  # noqa: PLR2004 (a plane has two coordinates)
        raise ValueError(f"points: shape {nodes.shape}, expected (count, 2)")
    if not np.isfinite(nodes).all():
        raise ValueError("points: NaN or infinity among them; a contour needs finite coordinates")
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
    return nodes


def first_crossing(nodes: FloatArray) -> tuple[int, int] | None:
    """Return the numbers of two panels that cross or touch, or None.

    Args:
        nodes: ``(panels + 1, 2)`` nodes of a contour; the base of a blunt tail counts as a panel.
    """
    z = to_complex(outline(nodes))
    starts, ends = z[:-1, None], z[1:, None]
    spans = ends - starts

    # On which side of each panel every node lies: 0 where it lies on its line.
    sides = np.sign((spans.conj() * (z - starts)).imag)
    is_apart = sides[:, :-1] * sides[:, 1:] > 0
    is_within = _ranges_meet(z.real) & _ranges_meet(z.imag)
    crosses = ~is_apart & ~is_apart.T & is_within

    count = len(spans)
    first, second = np.nonzero(np.triu(crosses, k=2))
    is_neighbour = (first == 0) & (second == count - 1)
    pairs = [(int(one), int(other)) for one, other in zip(first, second, strict=True)]
    return next((pair for pair, near in zip(pairs, is_neighbour, strict=True) if not near), None)


def _ranges_meet(values: FloatArray) -> BoolArray:
    """Return for each pair of panels whether their ranges of one coordinate meet."""
    low, high = np.minimum(values[:-1], values[1:]), np.maximum(values[:-1], values[1:])
    return np.asarray((low[:, None] <= high) & (low <= high[:, None]))


def to_complex(points: FloatArray) -> ComplexArray:
    """Return points ``(..., 2)`` as complex numbers ``x + i y`` of shape ``(...)``."""
    return np.asarray(points[..., 0] + 1j * points[..., 1], dtype=np.complex128)


def signed_area(nodes: FloatArray) -> float:
    """Return the area that a contour encloses, positive when it runs counter-clockwise."""
    # Relative to a corner, so that a far-away body loses no digits; from it, closing adds nothing.
    z = to_complex(nodes - nodes[0])
    return float(0.5 * (z[:-1].conj() * z[1:]).imag.sum())


def panel_lengths(nodes: FloatArray) -> FloatArray:
    """Return the lengths ``(panels,)`` of the panels between the nodes."""
    return np.abs(np.diff(to_complex(nodes)))


def end_tangents(nodes: FloatArray) -> tuple[complex, complex]:
    """Return the unit tangents at the first and the last node, along a contour.

    Those of a cubic spline over arc length, whose third derivative is zero on its first and its
    last interval.
    """
    z = to_complex(nodes)
    lengths = np.abs(np.diff(z))
    slopes = np.diff(z) / lengths

    # The spline's first derivatives; bands are the ones above, on and below the diagonal.
    bands = np.ones((3, len(z)))
    bands[1, 1:-1] = 2 / lengths[:-1] + 2 / lengths[1:]
    bands[0, 2:] = 1 / lengths[1:]
    bands[2, :-2] = 1 / lengths[:-1]
    right = np.empty(len(z), dtype=np.complex128)
    right[1:-1] = 3 * (slopes[:-1] / lengths[:-1] + slopes[1:] / lengths[1:])
    right[[0, -1]] = 2 * slopes[[0, -1]]

    first, *_, last = solve_banded((1, 1), bands, right)
    return first / abs(first), last / abs(last)


def node_normals(nodes: FloatArray) -> FloatArray:
    """Return outward unit normals ``(panels + 1, 2)`` at the nodes of a counter-clockwise contour.

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
