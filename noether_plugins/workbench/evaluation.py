"""How well a model predicts held-out samples, beside what predicting the mean achieves."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from noether_plugins.workbench.data import Batch, Units
from noether_plugins.workbench.model import PointTransformer

_SAMPLES_AT_ONCE = 16


@torch.no_grad()
def predict(
    model: PointTransformer, inputs: Mapping[str, Tensor], units: Units
) -> dict[str, Tensor]:
    """Return the fields that the model predicts, by name ``(batch, points, width)``."""
    model.eval()
    chunks = {name: torch.split(tensor, _SAMPLES_AT_ONCE) for name, tensor in inputs.items()}
    n_chunks = len(next(iter(chunks.values())))

    predicted: dict[str, list[Tensor]] = {}
    for number in range(n_chunks):
        some = {name: tensors[number] for name, tensors in chunks.items()}
        for field, values in units.decode(model(some)).items():
            predicted.setdefault(field, []).append(values)
    return {field: torch.cat(values) for field, values in predicted.items()}


def model_errors(model: PointTransformer, batch: Batch, units: Units) -> dict[str, float]:
    """Return the relative errors of the model's predictions, by field."""
    return relative_errors(predict(model, batch.inputs, units), batch.fields)


def mean_errors(batch: Batch, units: Units) -> dict[str, float]:
    """Return the relative errors of predicting the training mean everywhere, by field."""
    means = {name: units.means[name].expand_as(field) for name, field in batch.fields.items()}
    return relative_errors(means, batch.fields)


def relative_errors(
    predicted: Mapping[str, Tensor], true: Mapping[str, Tensor]
) -> dict[str, float]:
    """Return ``|prediction - truth| / |truth|``, averaged over samples, by field."""
    errors: dict[str, float] = {}
    for name, field in true.items():
        distance = (predicted[name] - field).flatten(1).norm(dim=1)
        size = field.flatten(1).norm(dim=1)
        errors[name] = float((distance / size).mean())
    return errors
