"""Where the tokens of a sample lie: along the surface, and in the fluid around it."""

import numpy as np

from noether_plugins.tasks.airfoil.contours import FloatArray, distances, is_inside, node_normals
from noether_plugins.tasks.airfoil.panels import PanelFlow

BOX = ((-0.75, 1.75), (-1.0, 1.0))
"""Range of x and of y, in chords, that volume tokens are drawn from."""

CLEARANCE = 0.005
"""Least distance of a volume token from the surface, in chords: nearer by, the corners of the
panels show.
"""

_NEAR_SHARE = 0.5  # of the volume tokens; the others are spread evenly over the box
_NEAR_REACH = 0.5  # chords from the surface to the farthest of them, which keeps them in the box


def draw_surface_tokens(
    rng: np.random.Generator, flow: PanelFlow, count: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draw points along a contour, in order, one in each of *count* stretches of equally many
    panels.

    Panels are shorter at nose and tail, so points are denser there. Everything is linear between
    nodes, as the surface speed is in the panel method; Cp is made from the speed, so that it never
    exceeds 1.

    Returns:
        Positions ``(count, 2)``, outward unit normals ``(count, 2)`` and pressure coefficients
        ``(count,)``.
    """
    where = (np.arange(count) + rng.random(count)) * (len(flow.nodes) - 1) / count
    positions, normals = _on_contour(flow.nodes, where)
    speeds = _between_nodes(flow.speeds[:, None], where)[:, 0]
    return positions, normals, 1.0 - speeds**2


def draw_volume_positions(
    rng: np.random.Generator, nodes: FloatArray, count: int
) -> tuple[FloatArray, FloatArray]:
    """Draw points in the fluid inside `BOX`: about half evenly, half near the surface, log-uniform
    in distance.

    Returns:
        Positions ``(count, 2)`` in no particular order and their distances ``(count,)`` from the
        surface.
    """
    positions, clearances = np.empty((0, 2)), np.empty(0)
    while len(positions) < count:
        candidates = _draw_candidates(
            rng, nodes, count + count // 8 + 8
        )  # few are refused, so that one round does
        away = distances(nodes, candidates)
        accepted = (away >= CLEARANCE) & ~is_inside(nodes, candidates)
        positions = np.concatenate([positions, candidates[accepted]])
        clearances = np.concatenate([clearances, away[accepted]])
    return positions[:count], clearances[:count]


def _draw_candidates(rng: np.random.Generator, nodes: FloatArray, count: int) -> FloatArray:
    feet, normals = _on_contour(nodes, rng.uniform(0, len(nodes) - 1, count))
    reach = np.exp(rng.uniform(np.log(CLEARANCE), np.log(_NEAR_REACH), count))
    near = feet + reach[:, None] * normals
    anywhere = np.stack([rng.uniform(low, high, count) for low, high in BOX], axis=1)
    return np.where(rng.random((count, 1)) < _NEAR_SHARE, near, anywhere)


def _on_contour(nodes: FloatArray, where: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Points and outward unit normals at fractional node numbers *where*."""
    normals = _between_nodes(node_normals(nodes), where)
    return _between_nodes(nodes, where), normals / np.hypot(*normals.T)[:, None]


def _between_nodes(values: FloatArray, where: FloatArray) -> FloatArray:
    """Interpolate values ``(nodes, width)`` linearly at fractional node numbers."""
    before = np.minimum(where.astype(np.intp), len(values) - 2)
    share = (where - before)[:, None]
    return np.asarray((1 - share) * values[before] + share * values[before + 1])
