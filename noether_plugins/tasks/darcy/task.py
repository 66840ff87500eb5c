"""The task of flow through ground: its samples, and its picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from noether_core.tasks import GroupLayout, Layout, Points, Predict, Quantity, Sample, Task
from noether_plugins.tasks.darcy.config import DarcyTaskConfig
from noether_plugins.tasks.darcy.permeability import FloatArray, draw_permeability
from noether_plugins.tasks.darcy.solver import DarcyFlow, cell_centres, solve
from noether_plugins.tasks.lazy import LazySamples

_HELD_OUT = 1_000_003
"""Added to the seed for held-out samples."""

_NUMBERS_OF_A_POINT = 6

LAYOUT = Layout(
    coordinates=2,
    groups={
        "points": GroupLayout(
            inputs={"log_permeability": Quantity(label="ln k")},
            fields={"pressure": Quantity(label="p"), "flux": Quantity(width=2)},
        )
    },
)
"""Points of the unit square, and how well the ground there lets fluid through."""


class Case(NamedTuple):
    """One ground, and the flow through it."""

    log_permeability: FloatArray
    """``(grid, grid)``: natural logarithms, along x, then y."""

    flow: DarcyFlow
    """The flow, driven by a source of 1 everywhere."""

    cells: np.ndarray[tuple[int], np.dtype[np.intp]]
    """``(points,)``: numbers of the cells that are seen, counted along y first."""


class DarcyTask(Task):
    """Predict pressure and flux in ground whose permeability is known.

    Args:
        config: How the ground varies, and how finely it is seen.
        seed: Sample *i* depends on this, its number and the options of the ground alone.
    """

    config: DarcyTaskConfig

    @property
    def layout(self) -> Layout:
        """One group, of points of the unit square."""
        return LAYOUT

    @cached_property
    def train(self) -> Sequence[Sample]:
        """Samples to learn from."""
        return self._samples("ground", self.seed, self.config.n_train)

    @cached_property
    def test(self) -> Sequence[Sample]:
        """Held-out samples."""
        return self._samples("held_out_ground", self.seed + _HELD_OUT, self.config.n_test)

    def _samples(self, name: str, seed: int, count: int) -> Sequence[Sample]:
        n_points = self.config.n_points or self.config.grid**2
        return LazySamples(
            count,
            lambda number: _sample_of(f"{name}_{number}", self._case(seed, number)),
            size=n_points * _NUMBERS_OF_A_POINT * np.dtype(np.float32).itemsize,
        )

    def _case(self, seed: int, number: int) -> Case:
        grid = self.config.grid
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
        log_permeability = draw_permeability(rng, grid, self.config)
        flow = solve(np.exp(log_permeability), np.ones((grid, grid)))
        cells = np.arange(grid**2)
        if self.config.n_points is not None:
            cells = np.sort(rng.choice(grid**2, self.config.n_points, replace=False))
        return Case(log_permeability, flow, cells)

    def picture(self, predict: Predict) -> bytes:
        """Return a picture of the first held-out ground, and its pressure, true and predicted.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        from noether_plugins.tasks.darcy.picture import draw  # noqa: PLC0415  with matplotlib

        return draw(self._case(self.seed + _HELD_OUT, 0), predict)


def _sample_of(name: str, case: Case) -> Sample:
    return Sample(name=name, groups={"points": points_of(case, case.cells)})


def points_of(case: Case, cells: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Points:
    """Return some cells of a case as points, in single precision."""

    def seen(values: FloatArray) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        by_cell = values.reshape(case.log_permeability.size, -1)
        return by_cell[cells].astype(np.float32)

    return Points(
        positions=seen(cell_centres(len(case.log_permeability))),
        inputs={"log_permeability": seen(case.log_permeability)},
        fields={"pressure": seen(case.flow.pressure), "flux": seen(case.flow.flux)},
    )
