"""What a task gives: samples of points in named groups, and fields to predict there. No torch."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs
from annotated_types import Ge, Gt, Interval, MinLen

from noether_core.atomic_writes import write_whole
from noether_core.errors import NoetherError
from noether_core.schemas.frozen_mapping import EMPTY
from noether_core.schemas.schema import Schema
from noether_core.schemas.task import TaskConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Fields",
    "GroupLayout",
    "Layout",
    "Points",
    "Predict",
    "Quantity",
    "Sample",
    "Task",
    "TaskConfig",
    "TaskError",
    "check_sample",
    "write_whole",
]

Fields = Mapping[str, Mapping[str, "NDArray[Any]"]]
"""Fields by group and name, each ``(points, width)``."""

Predict = Callable[["Sample"], Fields]
"""What a trained model does: the fields that it predicts for a sample, in their own units."""


class TaskError(NoetherError, ValueError):
    """The samples of a task cannot be had, or are not what its layout says."""


@attrs.frozen(kw_only=True)
class Quantity(Schema):
    """An input or a field: how many numbers it has, and in which unit."""

    width: Annotated[int, Ge(1)] = 1
    """Numbers at a point: 1 for pressure, 3 for a velocity in space."""

    unit: str = ""
    """The unit that its values are in, such as ``m/s``; empty for a number without one."""

    label: str = ""
    """What tables and pictures call it, such as ``Cp``; its name where it is left out."""

    is_normalised: bool = True
    """Whether the model gets it less its mean, over its spread, both of the training samples.

    False for what has a natural size already, such as a unit vector. Fields are always normalised.
    """


@attrs.frozen(kw_only=True)
class GroupLayout(Schema):
    """What is known of each point of a group, and what is to be predicted there."""

    inputs: Mapping[str, Quantity] = EMPTY
    """What is known at each point besides its position, by name."""

    fields: Mapping[str, Quantity] = EMPTY
    """What is to be predicted at each point, by name."""


@attrs.frozen(kw_only=True)
class Layout(Schema):
    """What all samples of a task have in common, and what their sizes do not change."""

    coordinates: Annotated[int, Interval(ge=1, le=3)]
    """Coordinates of a point, the same in all groups."""

    groups: Annotated[Mapping[str, GroupLayout], MinLen(1)]
    """The groups by name, in the order in which the model has their points."""

    inputs: Mapping[str, Quantity] = EMPTY
    """What is known of a sample as a whole, such as an angle or a Reynolds number, by name."""

    length: Annotated[float, Gt(0)] | None = None
    """What positions are divided by before the model has them.

    None takes origin and length from the training samples: the middle and half the longest side of
    the box around their points.
    """

    @property
    def field_names(self) -> tuple[str, ...]:
        """The fields as results name them: ``surface.pressure``."""
        return tuple(
            f"{group}.{field}" for group, layout in self.groups.items() for field in layout.fields
        )


@attrs.frozen(kw_only=True, eq=False)
class Points:
    """The points of one group in one sample."""

    positions: NDArray[Any]
    """``(points, coordinates)``; any number of points, none included."""

    inputs: Mapping[str, NDArray[Any]] = EMPTY
    """By name ``(points, width)``."""

    fields: Mapping[str, NDArray[Any]] = EMPTY
    """By name ``(points, width)``; empty where the truth is not known."""

    def __len__(self) -> int:
        return len(self.positions)


@attrs.frozen(kw_only=True, eq=False)
class Sample:
    """One case: its groups of points, whose sizes are its own."""

    name: str
    """What errors and files call it: ``wing_017``."""

    groups: Mapping[str, Points]
    """All groups of the layout, by name."""

    inputs: Mapping[str, NDArray[Any]] = EMPTY
    """What is known of the sample as a whole: by name ``(width,)``."""


class Task(abc.ABC):
    """One problem to learn: samples to learn from, held-out samples, and what they are made of.

    A concrete class is called with its config and the seed of the run. It does next to nothing
    then: data are made or opened when `train` or `test` is first looked at, since a model that was
    trained elsewhere predicts without them. A sample may be made, or read from disk, each time it
    is indexed, so that data need not fit into memory.

    Args:
        config: The config of the task.
        seed: Seed of everything random in it: the same seed gives the same samples.
    """

    def __init__(self, config: Any, *, seed: int) -> None:
        self.config = config
        self.seed = seed

    @property
    @abc.abstractmethod
    def layout(self) -> Layout:
        """What all samples have in common."""

    @property
    @abc.abstractmethod
    def train(self) -> Sequence[Sample]:
        """Samples to learn from."""

    @property
    @abc.abstractmethod
    def test(self) -> Sequence[Sample]:
        """Held-out samples, none of which is one to learn from."""

    @property
    def is_drawn(self) -> bool:
        """Whether steps see other points of a sample each time: whether `draw` is overridden.

        Where they do not, samples are drawn once and kept if they fit into memory. A task whose
        options decide it overrides this too.
        """
        return type(self).draw is not Task.draw

    def draw(self, number: int, rng: np.random.Generator) -> Sample:  # noqa: ARG002  for others
        """Return a training sample as one step of the training sees it: whole, unless overridden.

        A task with samples of millions of points returns some of them here, drawn from *rng*.

        Args:
            number: Which of `train`, from 0.
            rng: Source of all randomness; the same state gives the same points.
        """
        return self.train[number]

    def picture(self, predict: Predict) -> bytes | None:  # noqa: ARG002  for others
        """Return a picture of what was learnt as PNG, or None for the one that fits any task.

        Args:
            predict: Predicts the fields of any sample of this layout.

        Raises:
            ImportError: If what draws is not installed.
        """
        return None

    def read(self, file: Path, layout: Layout) -> Sample:  # noqa: ARG002  for others
        """Return the sample in a file, with its fields where the truth is there.

        Args:
            file: The file.
            layout: What the model was trained on.

        Raises:
            TaskError: If there is no such sample in it, naming the file, the place and the remedy;
                or if the task reads no files.
        """
        raise TaskError(f"{file}: the task {self.config.type!r} reads no files")

    def write(self, file: Path, predicted: Fields, folder: Path) -> tuple[Path, ...]:  # noqa: ARG002  for others
        """Write predicted fields beside what *file* holds, in its own format.

        Args:
            file: What `read` was given.
            predicted: The fields of that sample, a row for each of its points in their order.
            folder: Where the new files go, each whole or not at all; it is there.

        Returns:
            The files written.

        Raises:
            TaskError: If the task writes no files.
            OSError: If the folder cannot be written to.
        """
        raise TaskError(f"{file}: the task {self.config.type!r} writes no files")


def check_sample(sample: Sample, layout: Layout, *, with_fields: bool = True) -> None:
    """Check that a sample is what a layout says.

    Args:
        sample: The sample.
        layout: What it should be.
        with_fields: Whether its fields must be there; where False, those that are there are
            checked.

    Raises:
        TaskError: If it is not; the message names the sample and everything that is wrong with it.
    """
    faults = _faults_of_groups(sample, layout, with_fields=with_fields)
    faults += _faults_of_values("inputs", sample.inputs, layout.inputs, rows=())
    if faults:
        raise TaskError(f"sample {sample.name!r}: {'; '.join(faults)}")


def _faults_of_groups(sample: Sample, layout: Layout, *, with_fields: bool) -> list[str]:
    faults: list[str] = []
    if sample.groups.keys() != layout.groups.keys():
        faults.append(f"has the groups {_listed(sample.groups)}, not {_listed(layout.groups)}")
    for name, group in layout.groups.items():
        points = sample.groups.get(name)
        if points is not None:
            found = _faults_of_points(points, group, layout.coordinates, with_fields=with_fields)
            faults += [f"{name}.{fault}" for fault in found]
    return faults


def _faults_of_points(
    points: Points, group: GroupLayout, coordinates: int, *, with_fields: bool
) -> list[str]:
    shape = points.positions.shape
    if len(shape) != 2 or shape[1] != coordinates:  # noqa: PLR2004  a row for each point
        return [f"positions: shape {shape}, expected (points, {coordinates})"]

    rows = (shape[0],)
    fields = group.fields
    if not with_fields:
        fields = {name: fields[name] for name in fields if name in points.fields}
    faults = _faults_of_values("positions", {"": points.positions}, {"": None}, rows=rows)
    faults += _faults_of_values("inputs", points.inputs, group.inputs, rows=rows)
    return faults + _faults_of_values("fields", points.fields, fields, rows=rows)


def _faults_of_values(
    what: str,
    values: Mapping[str, NDArray[Any]],
    wanted: Mapping[str, Quantity | None],
    *,
    rows: tuple[int, ...],
) -> list[str]:
    """Return what is wrong with arrays by name; those without a quantity may have any width."""
    import numpy as np

    if values.keys() != wanted.keys():
        return [f"{what}: has {_listed(values)}, expected {_listed(wanted)}"]
    faults: list[str] = []
    for name, quantity in wanted.items():
        path = f"{what}.{name}".rstrip(".")
        value = values[name]
        if quantity is not None and value.shape != (*rows, quantity.width):
            faults.append(f"{path}: shape {value.shape}, expected {(*rows, quantity.width)}")
        elif not np.isfinite(value).all():
            bad = int(np.size(value) - np.isfinite(value).sum())
            faults.append(f"{path}: {bad} of {value.size} values are not finite")
    return faults


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(names) or "none"
