"""Aerofoils as tensors: what the model sees, what it has to predict, and in which units."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noether_plugins.tasks.airfoil import AirfoilBatch, generate
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.model import PointGroup, PointTransformer

GROUPS = {
    "surface": PointGroup(n_features=4, fields={"pressure": 1}),
    "volume": PointGroup(n_features=3, fields={"velocity": 2}),
}
"""Surface points with their outward normals; points in the fluid with how far the surface is."""

_COORDINATES = 2

_HELD_OUT = 1_000_003
"""Added to the seed for held-out aerofoils."""


@attrs.frozen(eq=False)
class Batch:
    """Inputs and true fields of some samples, all of equally many points."""

    inputs: Mapping[str, Tensor]
    """By group ``(batch, points, features)``, in chords."""

    fields: Mapping[str, Tensor]
    """By field ``(batch, points, width)``: Cp, and velocity over the free stream."""

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next(iter(self.inputs.values())).device

    def select(self, rows: Tensor) -> Batch:
        """Return the samples with the numbers *rows*."""
        return Batch(
            {name: tensor[rows] for name, tensor in self.inputs.items()},
            {name: tensor[rows] for name, tensor in self.fields.items()},
        )

    def to(self, device: torch.device) -> Batch:
        """Return the same samples on *device*."""
        return Batch(
            {name: tensor.to(device) for name, tensor in self.inputs.items()},
            {name: tensor.to(device) for name, tensor in self.fields.items()},
        )


@attrs.frozen(eq=False)
class Units:
    """Mean and spread of the fields over the training samples: the units of predictions."""

    means: Mapping[str, Tensor]
    """By field ``(width,)``."""

    spreads: Mapping[str, Tensor]
    """By field ``(width,)``."""

    @classmethod
    def of(cls, batch: Batch) -> Units:
        """Measure them."""
        return cls(
            {name: field.mean(dim=(0, 1)) for name, field in batch.fields.items()},
            {name: field.std(dim=(0, 1)) for name, field in batch.fields.items()},
        )

    def encode(self, fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return fields in these units."""
        return {
            name: (field - self.means[name]) / self.spreads[name] for name, field in fields.items()
        }

    def decode(self, fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return fields in these units in their own again."""
        return {
            name: field * self.spreads[name] + self.means[name] for name, field in fields.items()
        }


def make_model(experiment: Experiment) -> PointTransformer:
    """Return the model of an experiment, for the groups and fields of aerofoils."""
    return PointTransformer(experiment.attention, experiment.model, GROUPS, input_dim=_COORDINATES)


def training_set(experiment: Experiment) -> Batch:
    """Solve the flow around the aerofoils to learn from."""
    data = experiment.data
    return as_batch(generate(experiment.seed, data.n_train, data.n_surface, data.n_volume))


def held_out_aerofoils(experiment: Experiment) -> AirfoilBatch:
    """Solve the flow around the held-out aerofoils."""
    data = experiment.data
    return generate(experiment.seed + _HELD_OUT, data.n_test, data.n_surface, data.n_volume)


def as_batch(aerofoils: AirfoilBatch) -> Batch:
    """Return solved aerofoils as tensors."""
    return Batch(
        inputs={
            "surface": _joined(aerofoils.surface_positions, aerofoils.surface_normals),
            "volume": _joined(aerofoils.volume_positions, aerofoils.volume_distances[..., None]),
        },
        fields={
            "pressure": torch.from_numpy(aerofoils.surface_pressures[..., None]),
            "velocity": torch.from_numpy(aerofoils.volume_velocities),
        },
    )


def _joined(*features: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.concatenate(features, axis=-1))
