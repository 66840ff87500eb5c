"""Random ellipsoids in random streams, and random points on and around them."""

from __future__ import annotations

import numpy as np

from noether_plugins.tasks.potential.config import PotentialTaskConfig
from noether_plugins.tasks.potential.ellipsoid import EllipsoidFlow, FloatArray

CLEARANCE = 0.01
"""Least distance of points in the fluid from the body; its longest semi-axis is 1."""

NEAR = 0.5
"""Greatest distance of those points that lie near the body."""

REACH = 2.0
"""Greatest distance of all."""

_NEAR_SHARE = 0.5  # of the points in the fluid


def draw_flow(rng: np.random.Generator, config: PotentialTaskConfig) -> EllipsoidFlow:
    """Draw a body and a direction of the stream.

    Semi-axes are log-uniform, then scaled so that the longest is 1; yaw and pitch are uniform.

    Args:
        rng: Source of all randomness.
        config: The ranges.
    """
    logarithms = rng.uniform(-np.log(config.axis_ratio), 0.0, 3)
    yaw = np.deg2rad(rng.uniform(-config.yaw, config.yaw))
    pitch = np.deg2rad(rng.uniform(-config.pitch, config.pitch))
    stream = [np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)]
    return EllipsoidFlow(np.exp(logarithms - logarithms.max()), np.array(stream))


def draw_on_surface(rng: np.random.Generator, semi_axes: FloatArray, count: int) -> FloatArray:
    """Draw points on the surface of an ellipsoid, evenly by area.

    Directions s are uniform over the unit sphere; x_i = a_i s_i then has abc |s / a| of area for
    each solid angle, and is kept with a probability in proportion to it. At least half are.

    Returns:
        ``(count, 3)``.
    """
    kept = np.empty((0, 3))
    while len(kept) < count:
        directions = rng.standard_normal((2 * (count - len(kept)) + 8, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        probabilities = semi_axes.min() * np.linalg.norm(directions / semi_axes, axis=1)
        is_kept = rng.random(len(directions)) < probabilities
        kept = np.concatenate([kept, directions[is_kept] * semi_axes])
    return kept[:count]


def draw_around(
    rng: np.random.Generator, flow: EllipsoidFlow, count: int
) -> tuple[FloatArray, FloatArray]:
    """Draw points in the fluid around an ellipsoid, denser near it.

    They lie straight above points that are even on the surface. Half of them are log-uniform in
    distance from `CLEARANCE` to `NEAR`, the others uniform from `CLEARANCE` to `REACH`.

    Returns:
        Positions ``(count, 3)`` and distances ``(count,)`` from the body, which are exact, since it
        is convex.
    """
    feet = draw_on_surface(rng, flow.semi_axes, count)
    near = np.exp(rng.uniform(np.log(CLEARANCE), np.log(NEAR), count))
    anywhere = rng.uniform(CLEARANCE, REACH, count)
    away = np.where(rng.random(count) < _NEAR_SHARE, near, anywhere)
    return feet + away[:, None] * flow.normals(feet), away
