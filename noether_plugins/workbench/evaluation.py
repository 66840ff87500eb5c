"""How well a model predicts held-out samples, beside what predicting the mean achieves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import numpy as np
import torch

from noether_core.tasks import Fields, Layout, Predict, Sample
from noether_plugins.workbench.data import as_case, collate, in_batches
from noether_plugins.workbench.model import PointTransformer
from noether_plugins.workbench.units import Units

_SAMPLES_AT_ONCE = 16
_POINTS_AT_ONCE = 1 << 14

Errors = dict[str, float | None]
"""By field, ``group.field``, its relative error; None where the truth is 0 everywhere."""


@attrs.frozen(eq=False)
class Evaluation:
    """Relative errors on held-out samples."""

    errors: Errors
    """Those of the model."""

    errors_of_mean: Errors
    """Those of predicting the mean of the training samples everywhere."""


def predictor(model: PointTransformer, units: Units) -> Predict:
    """Return what predicts the fields of any sample of the layout, in their own units."""
    return lambda sample: predict(model, units, [sample])[0]


@torch.no_grad()
def predict(model: PointTransformer, units: Units, samples: Sequence[Sample]) -> list[Fields]:
    """Return the fields that a model predicts for samples of equal sizes, in their own units.

    Args:
        model: The model; it stays as it is after ``eval()``.
        units: Its units.
        samples: Samples whose groups have equally many points; their fields are not looked at.
    """
    model.eval()
    device = next(model.parameters()).device
    cases = [as_case(sample, units, device, with_fields=False) for sample in samples]
    predicted = {
        group: {name: values.float().cpu().numpy() for name, values in fields.items()}
        for group, fields in model(collate(cases).features).items()
    }
    return [units.decode_fields(_of_sample(predicted, row)) for row in range(len(samples))]


def _of_sample(fields: Fields, row: int) -> Fields:
    return {
        group: {name: values[row] for name, values in own.items()} for group, own in fields.items()
    }


def evaluate(model: PointTransformer, units: Units, samples: Iterable[Sample]) -> Evaluation:
    """Return the relative errors of a model on samples, and those of predicting the mean.

    Args:
        model: The model.
        units: Its units.
        samples: Samples with their true fields; each is looked at once.
    """
    of_model = _RelativeErrors(units.layout)
    of_mean = _RelativeErrors(units.layout)
    batches = in_batches(samples, most_samples=_SAMPLES_AT_ONCE, most_points=_POINTS_AT_ONCE)
    for some in batches:
        for sample, predicted in zip(some, predict(model, units, some), strict=True):
            of_model.add(sample, predicted)
            of_mean.add(sample, units.mean_fields(sample))
    return Evaluation(of_model.means(), of_mean.means())


class _RelativeErrors:
    """``|prediction - truth| / |truth|`` of each field, averaged over samples.

    A sample in which a field is 0 everywhere, or has no points, does not count.
    """

    def __init__(self, layout: Layout) -> None:
        self._errors: dict[str, list[float]] = {name: [] for name in layout.field_names}

    def add(self, sample: Sample, predicted: Fields) -> None:
        for group, fields in predicted.items():
            for name, values in fields.items():
                true = np.asarray(sample.groups[group].fields[name], dtype=np.float64)
                size = float(np.linalg.norm(true))
                if size:
                    distance = float(np.linalg.norm(values - true))
                    self._errors[f"{group}.{name}"].append(distance / size)

    def means(self) -> Errors:
        means: Errors = {}
        for name, errors in self._errors.items():
            means[name] = float(np.mean(errors)) if errors else None
        return means
