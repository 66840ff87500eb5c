"""Aerofoils as tensors: what the model sees, what it is to say, and in which units."""

from __future__ import annotations

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noether_plugins.tasks.airfoil import AirfoilBatch, generate
from noether_plugins.workbench.experiment import Experiment

_HELD_OUT = 1_000_003
"""What is added to the seed for held-out aerofoils."""


@attrs.frozen(eq=False)
class FlowBatch:
    """Inputs and true fields of some aerofoils."""

    surface: Tensor
    """``(batch, n_surface, 4)``: position in chords and outward unit normal."""

    volume: Tensor
    """``(batch, n_volume, 3)``: position and distance from the surface, in chords."""

    pressure: Tensor
    """``(batch, n_surface)``: pressure coefficients."""

    velocity: Tensor
    """``(batch, n_volume, 2)``: velocity over free stream."""

    def __len__(self) -> int:
        return len(self.surface)

    def select(self, rows: Tensor) -> FlowBatch:
        """Return the aerofoils with the numbers *rows*."""
        return FlowBatch(
            self.surface[rows], self.volume[rows], self.pressure[rows], self.velocity[rows]
        )

    def to(self, device: torch.device) -> FlowBatch:
        """Return the same aerofoils on *device*."""
        return FlowBatch(
            *(
                tensor.to(device)
                for tensor in (self.surface, self.volume, self.pressure, self.velocity)
            )
        )


@attrs.frozen(eq=False)
class FlowUnits:
    """Mean and spread of the fields over the training aerofoils: the units in which the model
    speaks.
    """

    pressure_mean: Tensor
    pressure_spread: Tensor
    velocity_mean: Tensor
    velocity_spread: Tensor

    @classmethod
    def of(cls, batch: FlowBatch) -> FlowUnits:
        """Measure them."""
        return cls(
            batch.pressure.mean(),
            batch.pressure.std(),
            batch.velocity.mean(dim=(0, 1)),
            batch.velocity.std(dim=(0, 1)),
        )

    def encode(self, pressure: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """Return fields in these units."""
        return (pressure - self.pressure_mean) / self.pressure_spread, (
            velocity - self.velocity_mean
        ) / self.velocity_spread

    def decode(self, pressure: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """Return fields in these units as pressure coefficients and velocities over free stream."""
        return (
            pressure * self.pressure_spread + self.pressure_mean,
            velocity * self.velocity_spread + self.velocity_mean,
        )


def training_set(experiment: Experiment) -> FlowBatch:
    """Solve the flow around the aerofoils to learn from."""
    data = experiment.data
    return flow_batch(generate(experiment.seed, data.n_train, data.n_surface, data.n_volume))


def held_out_aerofoils(experiment: Experiment) -> AirfoilBatch:
    """Solve the flow around the held-out aerofoils."""
    data = experiment.data
    return generate(experiment.seed + _HELD_OUT, data.n_test, data.n_surface, data.n_volume)


def flow_batch(aerofoils: AirfoilBatch) -> FlowBatch:
    """Return solved aerofoils as tensors."""
    return FlowBatch(
        surface=_features(aerofoils.surface_positions, aerofoils.surface_normals),
        volume=_features(aerofoils.volume_positions, aerofoils.volume_distances[..., None]),
        pressure=torch.from_numpy(aerofoils.surface_pressures),
        velocity=torch.from_numpy(aerofoils.volume_velocities),
    )


def _features(*parts: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts, axis=-1))
