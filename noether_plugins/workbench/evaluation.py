"""How well a model predicts held-out aerofoils, beside what the training mean achieves."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from noether_plugins.workbench.data import FlowBatch, FlowUnits
from noether_plugins.workbench.model import FlowTransformer

_AT_ONCE = 16
"""Aerofoils per forward pass."""


@attrs.frozen
class Errors:
    """Relative L2 errors ``|prediction - truth| / |truth|``, averaged over aerofoils."""

    pressure: float
    """Of Cp at the surface."""

    velocity: float
    """Of velocity in the volume."""


@torch.no_grad()
def predict(
    model: FlowTransformer, surface: Tensor, volume: Tensor, units: FlowUnits
) -> tuple[Tensor, Tensor]:
    """Return Cp ``(batch, n_surface)`` and velocity ``(batch, n_volume, 2)`` that the model
    predicts.
    """
    model.eval()
    parts = [
        units.decode(*model(some_surface, some_volume))
        for some_surface, some_volume in zip(
            torch.split(surface, _AT_ONCE), torch.split(volume, _AT_ONCE), strict=True
        )
    ]
    pressures, velocities = zip(*parts, strict=True)
    return torch.cat(pressures), torch.cat(velocities)


def model_errors(model: FlowTransformer, batch: FlowBatch, units: FlowUnits) -> Errors:
    """Return the errors of the model's predictions."""
    pressure, velocity = predict(model, batch.surface, batch.volume, units)
    return Errors(
        _relative_error(pressure, batch.pressure), _relative_error(velocity, batch.velocity)
    )


def mean_errors(batch: FlowBatch, units: FlowUnits) -> Errors:
    """Return the errors of predicting the training mean everywhere."""
    pressure = units.pressure_mean.expand_as(batch.pressure)
    velocity = units.velocity_mean.expand_as(batch.velocity)
    return Errors(
        _relative_error(pressure, batch.pressure), _relative_error(velocity, batch.velocity)
    )


def _relative_error(predicted: Tensor, true: Tensor) -> float:
    difference, size = (predicted - true).flatten(1).norm(dim=1), true.flatten(1).norm(dim=1)
    return float((difference / size).mean())
