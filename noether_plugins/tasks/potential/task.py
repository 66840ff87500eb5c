"""The task of ellipsoids in a stream: its samples, of any number of points."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from noether_core.tasks import GroupLayout, Layout, Points, Quantity, Sample, Task
from noether_plugins.tasks.lazy import LazySamples
from noether_plugins.tasks.potential.bodies import REACH, draw_around, draw_flow, draw_on_surface
from noether_plugins.tasks.potential.config import PotentialTaskConfig
from noether_plugins.tasks.potential.ellipsoid import EllipsoidFlow, FloatArray

_HELD_OUT = 1_000_003
"""Added to the seed for held-out bodies."""

_LEARNT = "ellipsoid"
"""What names of samples begin with; others of those that are held out."""

_VELOCITY = Quantity(width=3)

LAYOUT = Layout(
    coordinates=3,
    groups={
        "surface": GroupLayout(
            inputs={"normal": Quantity(width=3, is_normalised=False)},
            fields={"pressure": Quantity(label="Cp"), "velocity": _VELOCITY},
        ),
        "volume": GroupLayout(
            inputs={"distance": Quantity(unit="semi-axes", is_normalised=False)},
            fields={"velocity": _VELOCITY},
        ),
    },
    inputs={"stream": Quantity(width=3, is_normalised=False)},
    length=1.0 + REACH,
)
"""Points on the body with their normals, points in the fluid with how far the body is, and for each
body the direction of the stream.
"""


class PotentialTask(Task):
    """Predict pressure and velocity on ellipsoids, and the velocity around them.

    Args:
        config: Which bodies there are, and how finely their flow is seen.
        seed: Body *i* depends on this, its number and the ranges of the config alone.
    """

    config: PotentialTaskConfig

    @property
    def layout(self) -> Layout:
        """Surface and volume, and the direction of the stream."""
        return LAYOUT

    @cached_property
    def train(self) -> Sequence[Sample]:
        """Bodies to learn from."""
        return self._samples(_LEARNT, self.seed, self.config.n_train)

    @cached_property
    def test(self) -> Sequence[Sample]:
        """Held-out bodies."""
        return self._samples(f"held_out_{_LEARNT}", self.seed + _HELD_OUT, self.config.n_test)

    @property
    def is_drawn(self) -> bool:
        """Whether ``points_per_sample`` says so."""
        return self.config.points_per_sample is not None

    def draw(self, number: int, rng: np.random.Generator) -> Sample:
        """Return a body to learn from; at points of its own, where ``points_per_sample`` is given.

        Args:
            number: Which body, from 0.
            rng: Source of the points.
        """
        seen, surface, volume = (
            self.config.points_per_sample,
            self.config.n_surface,
            self.config.n_volume,
        )
        if seen is None:
            return self.train[number]
        n_surface = min(max(round(seen * surface / (surface + volume)), 1), seen - 1)
        flow, _ = self._flow(self.seed, number)
        return _sample_of(f"{_LEARNT}_{number}", flow, rng, n_surface, seen - n_surface)

    def _flow(self, seed: int, number: int) -> tuple[EllipsoidFlow, np.random.Generator]:
        """Return a body in its stream, and the source of its points."""
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
        return draw_flow(rng, self.config), rng

    def _samples(self, name: str, seed: int, count: int) -> Sequence[Sample]:
        n_surface, n_volume = self.config.n_surface, self.config.n_volume
        numbers = 10 * n_surface + 7 * n_volume

        def make(number: int) -> Sample:
            flow, rng = self._flow(seed, number)
            return _sample_of(f"{name}_{number}", flow, rng, n_surface, n_volume)

        return LazySamples(count, make, size=numbers * np.dtype(np.float32).itemsize)


def _sample_of(
    name: str,
    flow: EllipsoidFlow,
    rng: np.random.Generator,
    n_surface: int,
    n_volume: int,
) -> Sample:
    """Draw points and evaluate the flow there, in single precision."""
    on_body = draw_on_surface(rng, flow.semi_axes, n_surface)
    surface = Points(
        positions=_single(on_body),
        inputs={"normal": _single(flow.normals(on_body))},
        fields={
            "pressure": _single(flow.surface_pressure(on_body)),
            "velocity": _single(flow.surface_velocity(on_body)),
        },
    )
    around, away = draw_around(rng, flow, n_volume)
    volume = Points(
        positions=_single(around),
        inputs={"distance": _single(away)},
        fields={"velocity": _single(flow.velocity(around))},
    )
    return Sample(
        name=name,
        groups={"surface": surface, "volume": volume},
        inputs={"stream": flow.stream.astype(np.float32)},
    )


def _single(values: FloatArray) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return values.reshape(len(values), -1).astype(np.float32)
