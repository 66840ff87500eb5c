"""Predictions for a sample of any size: as a whole, or in random parts, one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from noether_core.tasks import Fields, Points, Sample
from noether_plugins.workbench.evaluation import predict
from noether_plugins.workbench.model import PointTransformer
from noether_plugins.workbench.units import Units

Rows = NDArray[np.intp]


def predicted_fields(
    model: PointTransformer, units: Units, sample: Sample, *, at_once: int | None, seed: int = 0
) -> Fields:
    """Return the fields that a model predicts for a sample, in their own units.

    Args:
        model: The model.
        units: Its units.
        sample: The sample.
        at_once: Most points of a group that the model sees together; None for all.
        seed: Seed of which points are seen together.

    Returns:
        By group and field ``(points, width)``.
    """
    if at_once is None or all(len(points) <= at_once for points in sample.groups.values()):
        return predict(model, units, [sample])[0]

    predicted: dict[str, dict[str, NDArray[Any]]] = {}
    for rows in _parts(sample, at_once, seed):
        part = _part(sample, rows)
        for group, fields in predict(model, units, [part])[0].items():
            own = predicted.setdefault(group, {})
            for name, values in fields.items():
                n_points = len(sample.groups[group])
                whole = own.setdefault(name, np.empty((n_points, *values.shape[1:]), values.dtype))
                whole[rows[group]] = values
    return predicted


def _parts(sample: Sample, at_once: int, seed: int) -> Iterator[Mapping[str, Rows]]:
    """Yield the rows of each group in each part, such that every point is in one at least.

    A group that fits is in every part as a whole: the others may need to see all of it. Where one
    group has fewer parts than another, its parts come again.
    """
    rng = np.random.default_rng(seed)
    parts_of: dict[str, list[Rows]] = {}
    for group, points in sample.groups.items():
        n_parts = max(1, math.ceil(len(points) / at_once))
        order = rng.permutation(len(points)) if n_parts > 1 else np.arange(len(points))
        parts_of[group] = [np.sort(rows) for rows in np.array_split(order, n_parts)]
    for number in range(max(map(len, parts_of.values()))):
        yield {group: parts[number % len(parts)] for group, parts in parts_of.items()}


def _part(sample: Sample, rows: Mapping[str, Rows]) -> Sample:
    """Return a sample with some of its points."""
    groups: dict[str, Points] = {}
    for group, points in sample.groups.items():
        own = rows[group]
        inputs = {name: values[own] for name, values in points.inputs.items()}
        groups[group] = Points(positions=points.positions[own], inputs=inputs)
    return attrs.evolve(sample, groups=groups)
