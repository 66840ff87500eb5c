"""Flow through ground: a finite-volume method for its pressure, and the flux that follows."""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu

FloatArray = NDArray[np.float64]


@attrs.frozen(eq=False)
class DarcyFlow:
    """A solved flow on the unit square, in square cells."""

    pressure: FloatArray
    """``(cells, cells)``: in the middle of each cell, along x, then y."""

    flux_through_x: FloatArray
    """``(cells + 1, cells)``: flux along +x through the faces between cells, and the two sides."""

    flux_through_y: FloatArray
    """``(cells, cells + 1)``: flux along +y likewise."""

    @property
    def flux(self) -> FloatArray:
        """``(cells, cells, 2)``: flux in the middle of each cell, the mean over opposite faces."""
        along_x = (self.flux_through_x[1:] + self.flux_through_x[:-1]) / 2
        along_y = (self.flux_through_y[:, 1:] + self.flux_through_y[:, :-1]) / 2
        return np.stack([along_x, along_y], axis=-1)


def cell_centres(cells: int) -> FloatArray:
    """Return the middles ``(cells, cells, 2)`` of the cells of the unit square."""
    middles = (np.arange(cells) + 0.5) / cells
    return np.stack(np.meshgrid(middles, middles, indexing="ij"), axis=-1)


def solve(permeability: FloatArray, source: FloatArray) -> DarcyFlow:
    """Solve ``-div(k grad p) = f`` on the unit square, with ``p = 0`` on its sides.

    Each cell balances what flows through its faces with its source. Between two cells, flux is the
    difference of their pressures times the harmonic mean of their permeabilities, which is exact
    where these jump between them; at a side, the pressure is 0 half a cell away. Second order in
    the size of cells (Eymard, Gallouet and Herbin, Finite Volume Methods, 2000, chapter 3).

    Args:
        permeability: k in each cell, ``(cells, cells)``, above 0.
        source: f in each cell, likewise.

    Returns:
        Pressure, and the flux ``-k grad p``.
    """
    cells = len(permeability)
    across_x = _transmissibilities(permeability)
    across_y = _transmissibilities(permeability.T).T

    matrix = _matrix(across_x, across_y)
    # It is symmetric and positive definite, so that nothing is pivoted.
    factors = splu(
        matrix,
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    pressure = factors.solve(source.ravel() / cells**2).reshape(cells, cells)

    beyond = np.pad(pressure, 1)  # pressure is 0 on the sides
    return DarcyFlow(
        pressure=pressure,
        flux_through_x=-cells * across_x * np.diff(beyond[:, 1:-1], axis=0),
        flux_through_y=-cells * across_y * np.diff(beyond[1:-1], axis=1),
    )


def _transmissibilities(permeability: FloatArray) -> FloatArray:
    """Return for each face across x what flows through it per difference of pressure.

    Returns:
        ``(cells + 1, cells)``: harmonic means inside, and twice the permeability at the two sides,
        which are half as far.
    """
    faces = np.empty((len(permeability) + 1, permeability.shape[1]))
    faces[1:-1] = 2 / (1 / permeability[1:] + 1 / permeability[:-1])
    faces[[0, -1]] = 2 * permeability[[0, -1]]
    return faces


def _matrix(across_x: FloatArray, across_y: FloatArray) -> csc_matrix:
    """Return what flows out of each cell per pressure of each."""
    cells = across_x.shape[1]
    numbers = np.arange(cells**2).reshape(cells, cells)
    out = across_x[:-1] + across_x[1:] + across_y[:, :-1] + across_y[:, 1:]

    first = np.concatenate([numbers[:-1].ravel(), numbers[:, :-1].ravel()])
    second = np.concatenate([numbers[1:].ravel(), numbers[:, 1:].ravel()])
    between = -np.concatenate([across_x[1:-1].ravel(), across_y[:, 1:-1].ravel()])
    values = np.concatenate([out.ravel(), between, between])
    rows = np.concatenate([numbers.ravel(), first, second])
    columns = np.concatenate([numbers.ravel(), second, first])
    return csc_matrix((values, (rows, columns)))
