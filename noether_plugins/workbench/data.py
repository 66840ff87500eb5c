"""Samples as tensors: checked and measured once, then made into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import attrs
import numpy as np
import torch
from torch import Tensor

from noether_core import ConfigError, Problem
from noether_core.tasks import Layout, Sample, Task, TaskError, check_sample
from noether_plugins.workbench.units import Measurement, Units

_MOST_FAULTS = 100
"""Samples at fault that one error names."""


@attrs.frozen(eq=False)
class Case:
    """One sample in the units of the model."""

    features: Mapping[str, Tensor]
    """By group ``(points, features)``, positions first."""

    fields: Mapping[str, Mapping[str, Tensor]]
    """By group and name ``(points, width)``; none where the truth is not known."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Points of each group."""
        return tuple(len(tensor) for tensor in self.features.values())


@attrs.frozen(eq=False)
class Batch:
    """Samples that a model computes together, smaller ones filled up with padding."""

    features: Mapping[str, Tensor]
    """By group ``(batch, points, features)``."""

    fields: Mapping[str, Mapping[str, Tensor]]
    """By group and name ``(batch, points, width)``."""

    real: Mapping[str, Tensor] | None
    """By group ``(batch, points)`` booleans, True for real points; None where all are."""

    n_present: Mapping[str, int]
    """For each group, how many of the samples have points there."""


def as_case(
    sample: Sample, units: Units, device: torch.device | None = None, *, with_fields: bool = True
) -> Case:
    """Return a sample in the units of the model.

    Args:
        sample: The sample, which fits the layout of the units.
        units: The units.
        device: Where the tensors are.
        with_fields: Whether its fields are there too.
    """
    features: dict[str, Tensor] = {}
    fields: dict[str, dict[str, Tensor]] = {}
    for group in units.layout.groups:
        points = sample.groups[group]
        encoded = units.encode_features(group, points, sample)
        features[group] = torch.from_numpy(encoded).to(device)
        if with_fields:
            fields[group] = {
                name: torch.from_numpy(field).to(device)
                for name, field in units.encode_fields(group, points).items()
            }
    return Case(features, fields)


def collate(cases: Sequence[Case]) -> Batch:
    """Return samples as one batch; without a mask where all are of equal sizes."""
    features: dict[str, Tensor] = {}
    fields: dict[str, dict[str, Tensor]] = {}
    real: dict[str, Tensor] = {}
    is_padded = len({case.sizes for case in cases}) > 1
    for group in cases[0].features:
        tensors = [case.features[group] for case in cases]
        features[group] = _stacked(tensors)
        if is_padded:
            real[group] = _real(tensors)
    for group, names in cases[0].fields.items():
        fields[group] = {
            name: _stacked([case.fields[group][name] for case in cases]) for name in names
        }
    return Batch(features, fields, real if is_padded else None, n_present(cases))


def n_present(cases: Sequence[Case]) -> dict[str, int]:
    """Return for each group how many of the samples have points there."""
    return {
        group: sum(len(case.features[group]) > 0 for case in cases) for group in cases[0].features
    }


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    if len({len(tensor) for tensor in tensors}) == 1:
        return torch.stack([*tensors])
    return torch.nn.utils.rnn.pad_sequence([*tensors], batch_first=True)


def _real(tensors: Sequence[Tensor]) -> Tensor:
    counts = torch.tensor([len(tensor) for tensor in tensors], device=tensors[0].device)
    longest = max(len(tensor) for tensor in tensors)
    return torch.arange(longest, device=counts.device) < counts[:, None]


@attrs.define(eq=False)
class Cases:
    """Some of the training samples of a task, in the units of the model.

    Those that are the same each time are kept where they fit into memory, and made each time
    elsewhere.
    """

    task: Task
    """The task."""

    units: Units
    """The units of the model."""

    numbers: Sequence[int]
    """Which of ``task.train`` these are."""

    seed: int
    """Seed of points that are drawn."""

    device: torch.device
    """Where the tensors are."""

    kept: Mapping[int, Case] = attrs.field(factory=dict)
    """Those in memory, by their number."""

    def __len__(self) -> int:
        return len(self.numbers)

    def get(self, row: int, step: int) -> Case:
        """Return one of them as a step sees it.

        Its points, where the task draws them, depend on nothing but these arguments and the seed.

        Raises:
            TaskError: If it is not what the layout says, or cannot be had any more.

        Args:
            row: Which of them, from 0.
            step: The step, from 1; 0 for what is not a step of the training.
        """
        number = self.numbers[row]
        if number in self.kept:
            return self.kept[number]
        rng = np.random.default_rng((self.seed, step, number))
        sample = self.task.draw(number, rng)
        check_sample(sample, self.task.layout)
        _check_not_empty(sample)
        return as_case(sample, self.units, self.device)


@attrs.frozen(eq=False)
class Data:
    """All that a training learns from."""

    units: Units
    """The units of the model, measured on the samples to learn from."""

    train: Cases
    """Samples to learn from."""

    validation: Cases | None
    """Training samples kept aside to choose weights by; None where there are none."""

    most_points: int
    """Points of the largest sample to learn from, as a step sees it."""

    @property
    def layout(self) -> Layout:
        """What the samples are made of."""
        return self.units.layout


def prepare(
    task: Task,
    *,
    validation: float,
    seed: int,
    device: torch.device,
    memory: int,
    report: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005  says nothing
) -> Data:
    """Check all samples of a task, and measure the units of those to learn from.

    Args:
        task: The task.
        validation: Share of its training samples that is kept aside, at least one where it is
            above 0.
        seed: Seed of which these are.
        device: Where tensors are.
        memory: Bytes that samples may take for as long as the training lasts.
        report: Called after each sample with the number of samples done, and of all.

    Raises:
        TaskError: If samples cannot be had or are not what the layout says; all of them are named.
        ConfigError: If samples are to be kept aside and there is one only.
    """
    layout = task.layout
    chosen, aside = split(len(task.train), validation, seed)
    measurement = Measurement(layout)
    kept = _Kept(0 if task.is_drawn else memory)
    most_points = 0

    for number, sample in _checked(task, layout, report):
        if number not in aside:
            measurement.add(sample)
            most_points = max(most_points, _n_points(sample))
        kept.add(number, sample)

    units = measurement.units()
    cases = kept.cases(units, device)
    train = Cases(task, units, chosen, seed, device, cases)
    if task.is_drawn:  # then whole samples, which no step sees, say nothing of its size
        most_points = sum(train.get(0, 1).sizes)
    held_out = Cases(task, units, tuple(sorted(aside)), seed, device, cases) if aside else None
    return Data(units, train, held_out, most_points)


def split(n_samples: int, share: float, seed: int) -> tuple[Sequence[int], frozenset[int]]:
    """Return which training samples are learnt from, and which are kept aside to validate by.

    Raises:
        ConfigError: If some are to be kept aside, and there is one only.
    """
    if not share or not n_samples:
        return range(n_samples), frozenset()
    if n_samples == 1:
        problem = Problem(
            keys=("training", "validation"),
            message="the task has one sample to learn from",
            value=share,
            suggestion="write 0, or give it more samples",
        )
        raise ConfigError([problem])
    count = min(max(1, round(share * n_samples)), n_samples - 1)
    order = np.random.default_rng(seed).permutation(n_samples)
    aside = frozenset(int(number) for number in order[:count])
    return tuple(number for number in range(n_samples) if number not in aside), aside


def _checked(
    task: Task, layout: Layout, report: Callable[[int, int], None]
) -> Iterator[tuple[int, Sample]]:
    """Yield each training sample that is sound with its number.

    Raises:
        TaskError: At the end, if a training or held-out sample is not.
    """
    faults: list[str] = []
    done, total = 0, len(task.train) + len(task.test)
    for which, samples in (("training", task.train), ("held-out", task.test)):
        if not len(samples):
            faults.append(f"there are no {which} samples")
        for number in range(len(samples)):
            if len(faults) >= _MOST_FAULTS:
                break
            done += 1
            report(done, total)
            try:
                sample = samples[number]
                check_sample(sample, layout)
                _check_not_empty(sample)
            except TaskError as error:
                faults.append(str(error))
                continue
            except OSError as error:
                faults.append(f"{which} sample {number}: {error}")
                continue
            if which == "training" and not faults:
                yield number, sample
    if faults:
        raise TaskError("\n".join(faults))


def _check_not_empty(sample: Sample) -> None:
    if not _n_points(sample):
        raise TaskError(f"sample {sample.name!r}: has no points")


def _n_points(sample: Sample) -> int:
    return sum(len(points) for points in sample.groups.values())


class _Kept:
    """Samples that are kept as long as all of them together fit into memory."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._samples: dict[int, Sample] = {}

    def add(self, number: int, sample: Sample) -> None:
        self._memory -= _n_bytes(sample)
        if self._memory < 0:
            self._samples.clear()
            return
        self._samples[number] = sample

    def cases(self, units: Units, device: torch.device) -> dict[int, Case]:
        """Return them in the units of the model; each sample is let go for its case."""
        numbers = list(self._samples)
        return {number: as_case(self._samples.pop(number), units, device) for number in numbers}


def _n_bytes(sample: Sample) -> int:
    """Return the bytes that the arrays of a sample hold."""
    arrays = [*sample.inputs.values()]
    for points in sample.groups.values():
        arrays += [points.positions, *points.inputs.values(), *points.fields.values()]
    return sum(array.nbytes for array in arrays)


def in_batches(
    samples: Iterable[Sample], *, most_samples: int, most_points: int
) -> Iterator[list[Sample]]:
    """Yield samples that follow each other and are of equal sizes, so many at a time at most."""
    some: list[Sample] = []
    for sample in samples:
        is_alike = bool(some) and _sizes(sample) == _sizes(some[0])
        fits = (len(some) + 1) * _n_points(sample) <= most_points and len(some) < most_samples
        if some and not (is_alike and fits):
            yield some
            some = []
        some.append(sample)
    if some:
        yield some


def _sizes(sample: Sample) -> tuple[int, ...]:
    return tuple(len(points) for points in sample.groups.values())
