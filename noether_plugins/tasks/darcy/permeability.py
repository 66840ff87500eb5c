"""Random permeability: Gaussian fields on the unit square, drawn by their cosines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noether_plugins.tasks.darcy.config import DarcyTaskConfig

FloatArray = NDArray[np.float64]

_MODES = 64
"""Cosines along each axis. Those left out have a twentieth of the variance at the shortest
correlation length, 0.02, and hardly any from 0.1 on.
"""


def gaussian_field(rng: np.random.Generator, cells: int, correlation_length: float) -> FloatArray:
    """Draw a Gaussian field of mean 0, and variance 1 on the average over the unit square.

    Its covariance is that of ``(tau^2 - Laplacian)^-2`` with no slope at the sides, as in Li et al.
    (Fourier Neural Operator, 2021), with ``tau = 1 / correlation_length``: a sum of cosines with
    independent normal weights. The weights do not depend on *cells*, so that a finer grid shows
    the same field more finely.

    Args:
        rng: Source of all randomness.
        cells: Cells along each side, in the middle of which the field is evaluated.
        correlation_length: How far values are alike, over the side of the square.

    Returns:
        ``(cells, cells)``: along x, then y.
    """
    numbers = np.arange(_MODES)
    squares = (np.pi * numbers) ** 2
    deviations = 1 / (squares[:, None] + squares + correlation_length**-2)
    weights = rng.standard_normal((_MODES, _MODES)) * deviations
    weights /= np.sqrt((deviations**2).sum())

    centres = (np.arange(cells) + 0.5) / cells
    cosines = np.cos(np.pi * numbers * centres[:, None])
    cosines[:, 1:] *= np.sqrt(2)  # each of mean square 1
    return np.asarray(cosines @ weights @ cosines.T)


def draw_permeability(rng: np.random.Generator, cells: int, config: DarcyTaskConfig) -> FloatArray:
    """Draw the logarithm of a permeability.

    Args:
        rng: Source of all randomness.
        cells: Cells along each side.
        config: How it varies.

    Returns:
        ``(cells, cells)``: natural logarithms, along x, then y.
    """
    field = gaussian_field(rng, cells, config.correlation_length)
    if config.permeability == "two_values":
        field = np.where(field < 0, -1.0, 1.0)
    return config.log_spread * field
