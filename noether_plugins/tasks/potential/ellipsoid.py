"""Ideal flow past an ellipsoid, in closed form."""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy.special import elliprd

FloatArray = NDArray[np.float64]

_STEPS = 60
"""Of Newton's method for a confocal ellipsoid; a few are enough but for needles seen end on."""

_AT_ONCE = 2**14
"""Points whose velocities are found together."""

_CLOSE = 4 * np.finfo(np.float64).eps
_TINY = np.finfo(np.float64).tiny


@attrs.frozen(eq=False)
class EllipsoidFlow:
    """An ellipsoid at rest in a stream of speed 1; its middle is the origin, its axes are x, y, z.

    The potential is, with the sum over the axes (Lamb, Hydrodynamics, 6th edition, articles 110 to
    114; Milne-Thomson, Theoretical Hydrodynamics, 16.5)::

        phi = sum_i U_i x_i (1 + alpha_i(lambda) / (2 - alpha_i(0)))
        alpha_i(lambda) = a b c * integral from lambda to infinity of du / ((a_i^2 + u) D(u))
        D(u) = sqrt((a^2 + u) (b^2 + u) (c^2 + u))

    where lambda is that of the confocal ellipsoid through the point, 0 on the body. The integral is
    two thirds of Carlson's R_D, which scipy has.
    """

    semi_axes: FloatArray
    """``(3,)``: half the length of the body along x, y and z; in what all lengths are measured."""

    stream: FloatArray
    """``(3,)``: unit vector along which the fluid comes."""

    @property
    def shape_factors(self) -> FloatArray:
        """``(3,)``: alpha at the surface, which add up to 2; two thirds each for a sphere."""
        return self._alphas(np.zeros(1))[:, 0]

    @property
    def added_masses(self) -> FloatArray:
        """``(3,)``: added mass along each axis, over the mass of fluid that the body displaces."""
        return self.shape_factors / (2 - self.shape_factors)

    def normals(self, surface: FloatArray) -> FloatArray:
        """Return unit vectors ``(points, 3)`` out of the body at points on its surface."""
        gradients = surface / self.semi_axes**2
        return np.asarray(gradients / np.linalg.norm(gradients, axis=1, keepdims=True))

    def surface_velocity(self, surface: FloatArray) -> FloatArray:
        """Return the velocity ``(points, 3)`` at points on the surface, along it.

        There, phi is that of a uniform stream W with ``W_i = 2 U_i / (2 - alpha_i(0))``, so that
        the velocity is the part of W that is tangential.
        """
        uniform = 2 * self.stream / (2 - self.shape_factors)
        normals = self.normals(surface)
        return np.asarray(uniform - (normals @ uniform)[:, None] * normals)

    def surface_pressure(self, surface: FloatArray) -> FloatArray:
        """Return pressure coefficients Cp ``(points,)`` at points on the surface: 1 - speed^2."""
        return np.asarray(1 - (self.surface_velocity(surface) ** 2).sum(axis=1))

    def potential(self, points: FloatArray) -> FloatArray:
        """Return the velocity potential ``(points,)`` at points outside the body or on it."""
        alphas = self._alphas(self.confocal(points))
        factors = self.stream[:, None] * (1 + alphas / (2 - self.shape_factors)[:, None])
        return np.asarray((points.T * factors).sum(axis=0))

    def velocity(self, points: FloatArray) -> FloatArray:
        """Return the velocity ``(points, 3)`` at points outside the body or on it."""
        # some at a time, so that what is in between fits into the cache
        parts = np.array_split(points, max(1, len(points) // _AT_ONCE))
        return np.concatenate([self._velocity(part) for part in parts])

    def _velocity(self, points: FloatArray) -> FloatArray:
        where = self.confocal(points)
        squares = self.semi_axes[:, None] ** 2 + where
        coordinates = points.T / squares
        strengths = (self.stream / (2 - self.shape_factors))[:, None]

        # alpha_i changes along the gradient of lambda, by as much as the integrand is
        slopes = 2 * coordinates / (coordinates**2).sum(axis=0)
        integrand = self.semi_axes.prod() / np.sqrt(squares.prod(axis=0))
        falls = (strengths * coordinates).sum(axis=0) * integrand

        velocities = self.stream[:, None] + strengths * self._alphas(where) - falls * slopes
        return np.asarray(velocities.T)

    def confocal(self, points: FloatArray) -> FloatArray:
        """Return for each point the lambda ``(points,)`` of the confocal ellipsoid through it.

        The largest root of ``sum_i x_i^2 / (a_i^2 + lambda) = 1``: 0 on the body, and 0 inside.
        """
        squares = points.T**2
        # The reciprocal of the sum is concave, so that Newton's method rises to its root.
        reach = squares.sum(axis=0)
        found = np.maximum(reach - self.semi_axes.max() ** 2, 0.0)
        for _ in range(_STEPS):
            shares = squares / (self.semi_axes[:, None] ** 2 + found)
            total = shares.sum(axis=0)
            fall = (shares / (self.semi_axes[:, None] ** 2 + found)).sum(axis=0)
            step = np.maximum((total - 1) * total / (fall + _TINY), 0.0)
            found += step
            if np.all(step <= _CLOSE * (found + self.semi_axes.min() ** 2)):
                break
        return np.asarray(found)

    def _alphas(self, where: FloatArray) -> FloatArray:
        """Return alpha along each axis, ``(3, points)``, on confocal ellipsoids ``(points,)``."""
        a, b, c = self.semi_axes[:, None] ** 2 + where
        scale = self.semi_axes.prod() * 2 / 3
        along_x = scale * elliprd(b, c, a)
        along_y = scale * elliprd(a, c, b)
        # they add up to 2 abc / D
        total = 2 * self.semi_axes.prod() / np.sqrt(a * b * c)
        return np.stack([along_x, along_y, total - along_x - along_y])
