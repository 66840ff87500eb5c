"""A task small enough for tests: samples of unequal sizes, fields with a formula."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import attrs
import numpy as np

from noether_core.schemas.task import TaskConfig
from noether_core.tasks import GroupLayout, Layout, Points, Quantity, Sample, Task


@attrs.frozen(kw_only=True)
class TinyTaskConfig(TaskConfig):
    """How many samples there are, and of what sizes."""

    type: Literal["tiny"] = "tiny"

    n_train: int = 5
    """Samples to learn from."""

    n_test: int = 2
    """Held-out samples."""

    coordinates: int = 2
    """Coordinates of a point."""

    is_equal: bool = False
    """Whether all samples are of one size."""


class TinyTask(Task):
    """A wall and the fluid around it; the gain of the sample scales their fields."""

    config: TinyTaskConfig

    @property
    def layout(self):
        return Layout(
            coordinates=self.config.coordinates,
            groups={
                "wall": GroupLayout(
                    inputs={"rough": Quantity(), "normal": Quantity(width=2, is_normalised=False)},
                    fields={"pressure": Quantity(unit="Pa")},
                ),
                "fluid": GroupLayout(fields={"velocity": Quantity(width=2), "heat": Quantity()}),
            },
            inputs={"gain": Quantity()},
        )

    @cached_property
    def train(self):
        return self._samples("train", self.config.n_train, 0)

    @cached_property
    def test(self):
        return self._samples("test", self.config.n_test, 1)

    def _samples(self, name, count, stream):
        rng = np.random.default_rng((self.seed, stream))
        return [self._sample(f"{name}_{number}", number, rng) for number in range(count)]

    def _sample(self, name, number, rng):
        sizes = (7, 11) if self.config.is_equal else (5 + 2 * (number % 3), 13 - 3 * (number % 3))
        gain = rng.uniform(1, 2, 1)
        wall, fluid = (10 * rng.random((size, self.config.coordinates)) + 100 for size in sizes)
        swing = np.sin(wall[:, :1])
        return Sample(
            name=name,
            groups={
                "wall": Points(
                    positions=wall,
                    inputs={"rough": 5 + 3 * swing, "normal": np.cos(wall[:, :1] + [0, 1])},
                    fields={"pressure": 101325 + gain * swing},
                ),
                "fluid": Points(
                    positions=fluid,
                    fields={
                        "velocity": gain * np.cos(fluid[:, :1] + [0, 2]) - 4,
                        "heat": np.full((len(fluid), 1), 0.1),
                    },
                ),
            },
            inputs={"gain": gain},
        )


class DrawingTask(TinyTask):
    """The same, of which each step sees a few points."""

    def draw(self, number, rng):
        sample = self.train[number]
        groups = {name: _some(points, rng) for name, points in sample.groups.items()}
        return attrs.evolve(sample, groups=groups)


def _some(points, rng):
    rows = rng.permutation(len(points))[: rng.integers(2, 6)]
    return Points(
        positions=points.positions[rows],
        inputs={name: values[rows] for name, values in points.inputs.items()},
        fields={name: values[rows] for name, values in points.fields.items()},
    )
