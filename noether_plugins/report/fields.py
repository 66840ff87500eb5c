"""Fields of held-out samples, true and as runs predict them, thinned to some of their points."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noether_core import NoetherError, unstructure
from noether_core.errors import ProvenanceWarning
from noether_core.quoting import visible
from noether_core.tasks import Layout, Points, Quantity, Sample

if TYPE_CHECKING:
    from noether_plugins.workbench import Run

FloatArray = NDArray[np.float32]


class ShownField(NamedTuple):
    """One field of a group of points, ``(points, width)``."""

    true: FloatArray
    predicted: FloatArray

    error: float | None
    """Relative error over all points, those that are not shown included; None of a truth of 0."""


class ShownGroup(NamedTuple):
    """The points of a group that are shown."""

    positions: FloatArray
    """``(points, coordinates)``"""

    points_in_all: int
    fields: Mapping[str, ShownField]


class ShownSample(NamedTuple):
    """A held-out sample with what is predicted for it."""

    name: str
    inputs: Mapping[str, str]
    """What is known of the sample as a whole, as text."""

    groups: Mapping[str, ShownGroup]


class ShownFields(NamedTuple):
    """What a run predicts for some of its held-out samples."""

    layout: Layout
    samples_in_all: int
    samples: tuple[ShownSample, ...]

    note: str
    """In what the packages here differ from those that it was made with."""


class NoFields(NamedTuple):
    """Why a run shows none."""

    reason: str
    is_fault: bool = True
    """Whether some would be expected."""


class HeldOut:
    """Held-out samples of tasks, made once for all runs of one task and seed.

    Args:
        samples: How many of them are shown; they are spread evenly over all.
    """

    def __init__(self, samples: int) -> None:
        self._wanted = samples
        self._made: dict[str, tuple[int, list[Sample]]] = {}

    def of(self, run: Run) -> tuple[int, list[Sample]]:
        """Return how many held-out samples there are, and those that are shown."""
        experiment = run.experiment
        key = json.dumps([unstructure(experiment.task), experiment.seed], default=str)
        if key not in self._made:
            test = run.task.test
            numbers = np.unique(np.linspace(0, len(test) - 1, min(self._wanted, len(test))).round())
            self._made[key] = len(test), [test[int(number)] for number in numbers]
        return self._made[key]


def predict_fields(folder: Path, held_out: HeldOut, *, points: int) -> ShownFields | NoFields:
    """Return what a run predicts for held-out samples, or why it does not.

    Args:
        folder: The folder of the run.
        held_out: The samples.
        points: Most points of a group.
    """
    from noether_plugins.workbench import load_run

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ProvenanceWarning)
            run = load_run(folder)
        samples_in_all, samples = held_out.of(run)
        shown = tuple(_shown(run, sample, points) for sample in samples)
    except Exception as error:  # noqa: BLE001  a plugin may raise anything, and the report goes on
        return NoFields(_reason(error))
    notes = [str(each.message) for each in caught if each.category is ProvenanceWarning]
    return ShownFields(run.layout, samples_in_all, shown, "; ".join(notes))


def _reason(error: Exception) -> str:
    text = visible(" ".join(str(error).split()))
    return text if isinstance(error, NoetherError) else f"{type(error).__name__}: {text}"


def _shown(run: Run, sample: Sample, most: int) -> ShownSample:
    at_once = run.result.get("points_at_once")
    predicted = run.predict(sample, at_once=at_once if isinstance(at_once, int) else None)
    groups: dict[str, ShownGroup] = {}
    for name, layout in run.layout.groups.items():
        points = sample.groups[name]
        if len(points) and layout.fields:
            groups[name] = _shown_group(points, predicted[name], tuple(layout.fields), most)
    inputs = {
        name: _text(sample.inputs[name], quantity)
        for name, quantity in run.layout.inputs.items()
        if name in sample.inputs
    }
    return ShownSample(sample.name, inputs, groups)


def _shown_group(
    points: Points, predicted: Mapping[str, NDArray[Any]], names: Sequence[str], most: int
) -> ShownGroup:
    rows = _rows(len(points), most)
    fields = {
        name: ShownField(
            true=_singles(points.fields[name][rows]),
            predicted=_singles(predicted[name][rows]),
            error=_relative_error(points.fields[name], predicted[name]),
        )
        for name in names
        if name in points.fields
    }
    return ShownGroup(_singles(points.positions[rows]), len(points), fields)


def thinned(fields: ShownFields, most: int) -> ShownFields:
    """Return the same of at most *most* points of each group."""
    samples = tuple(
        sample._replace(
            groups={name: _thinned_group(sample.groups[name], most) for name in sample.groups}
        )
        for sample in fields.samples
    )
    return fields._replace(samples=samples)


def _thinned_group(group: ShownGroup, most: int) -> ShownGroup:
    rows = _rows(len(group.positions), most)
    fields = {
        name: field._replace(true=field.true[rows], predicted=field.predicted[rows])
        for name, field in group.fields.items()
    }
    return group._replace(positions=group.positions[rows], fields=fields)


def _rows(n_points: int, most: int) -> NDArray[np.intp]:
    """Return which points are shown: the same of all groups of one size, so that runs agree."""
    if n_points <= most:
        return np.arange(n_points)
    return np.sort(np.random.default_rng(0).choice(n_points, most, replace=False))


def _singles(values: NDArray[Any]) -> FloatArray:
    return np.asarray(values, dtype=np.float32)


def _relative_error(true: NDArray[Any], predicted: NDArray[Any]) -> float | None:
    length = float(np.linalg.norm(true.astype(np.float64)))
    away = float(np.linalg.norm(predicted.astype(np.float64) - true))
    return away / length if length else None


def _text(values: NDArray[Any], quantity: Quantity) -> str:
    numbers = ", ".join(f"{value:.4g}" for value in np.ravel(values))
    return f"{numbers} {quantity.unit}".strip()
