"""The units of the model: what positions, inputs and fields are shifted and divided by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from noether_core.tasks import Fields, Layout, Points, Sample

_ROWS_AT_ONCE = 1 << 18
"""Points that are looked at together: double precision of a large file need not fit in memory."""

FloatArray = NDArray[np.float64]


@attrs.frozen(eq=False)
class Scale:
    """The origin and the unit of a quantity, each ``(width,)`` in double precision."""

    mean: FloatArray
    """What is taken off."""

    spread: FloatArray
    """What is divided by: above 0."""

    def encode(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values ``(..., width)`` in this unit, in their own precision or at least single.

        Double precision matters: a pressure of 101,325 Pa that changes by 0.1 has few digits else.
        """
        precision = np.result_type(values.dtype, np.float32)
        centred: NDArray[Any] = values - self.mean.astype(precision)
        encoded: NDArray[Any] = centred / self.spread.astype(precision)
        return encoded

    def decode(self, values: NDArray[Any]) -> FloatArray:
        """Return values in this unit in their own again."""
        return np.asarray(values * self.spread + self.mean, dtype=np.float64)


@attrs.frozen(eq=False)
class Units:
    """The units of all that a model has of samples of a layout.

    Inputs and fields have mean 0 and spread 1 over all points of the training samples, and inputs
    of a sample over the samples; what is constant there has spread 0, and is divided by 1. Inputs
    that are not normalised are as the task gives them.
    """

    layout: Layout
    """What the samples are made of."""

    scales: Mapping[str, Scale]
    """By quantity: ``positions``, ``inputs.angle``, ``wall.inputs.normal``, ``wall.fields.p``."""

    def encode_features(self, group: str, points: Points, sample: Sample) -> NDArray[np.float32]:
        """Return what the model knows of each point of a group: ``(points, features)``.

        These are its position, its inputs, and the inputs of the sample.
        """
        columns = [self._encoded("positions", points.positions)]
        columns += [
            self._encoded(f"{group}.inputs.{name}", points.inputs[name])
            for name in self.layout.groups[group].inputs
        ]
        for name in self.layout.inputs:
            value = self._encoded(f"inputs.{name}", sample.inputs[name])
            columns.append(np.broadcast_to(value, (len(points), len(value))))
        return np.concatenate(columns, axis=-1, dtype=np.float32, casting="same_kind")

    def encode_fields(self, group: str, points: Points) -> dict[str, NDArray[np.float32]]:
        """Return the true fields of a group, by name ``(points, width)``."""
        return {
            name: self._encoded(f"{group}.fields.{name}", points.fields[name]).astype(np.float32)
            for name in self.layout.groups[group].fields
        }

    def decode_fields(self, fields: Fields) -> dict[str, dict[str, FloatArray]]:
        """Return the fields of a model, by group and name, in their own units."""
        decoded: dict[str, dict[str, FloatArray]] = {}
        for group, own in fields.items():
            decoded[group] = {
                name: self.scales[f"{group}.fields.{name}"].decode(values)
                for name, values in own.items()
            }
        return decoded

    def mean_fields(self, sample: Sample) -> Fields:
        """Return the means of the fields over the training samples, at each point of a sample."""
        means: dict[str, dict[str, FloatArray]] = {}
        for group, layout in self.layout.groups.items():
            rows = (len(sample.groups[group]), 1)
            means[group] = {
                name: np.tile(self.scales[f"{group}.fields.{name}"].mean, rows)
                for name in layout.fields
            }
        return means

    def _encoded(self, path: str, values: NDArray[Any]) -> NDArray[Any]:
        scale = self.scales.get(path)
        return values if scale is None else scale.encode(values)

    def arrays(self) -> dict[str, FloatArray]:
        """Return all of them as arrays to save: ``wall.fields.p.mean``, ``wall.fields.p.spread``.

        `from_arrays` is its opposite.
        """
        found: dict[str, FloatArray] = {}
        for path, scale in self.scales.items():
            found[f"{path}.mean"] = scale.mean
            found[f"{path}.spread"] = scale.spread
        return found

    @classmethod
    def from_arrays(cls, layout: Layout, arrays: Mapping[str, NDArray[Any]]) -> Units:
        """Return the units that `arrays` gave.

        Raises:
            KeyError: If one of them is not there.
            ValueError: If one has another width, or is no number to divide by.
        """
        scales: dict[str, Scale] = {}
        for path, width in _widths(layout).items():
            mean, spread = (
                np.asarray(arrays[f"{path}.{part}"], dtype=np.float64)
                for part in ("mean", "spread")
            )
            is_sound = mean.shape == spread.shape == (width,) and np.isfinite(mean).all()
            if not is_sound or not (np.isfinite(spread) & (spread > 0)).all():
                raise ValueError(f"the unit of {path} is none of {width} numbers")
            scales[path] = Scale(mean, spread)
        return cls(layout, scales)


class Measurement:
    """Measures units in one pass over samples, none of which it keeps."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._moments = {path: _Moments(width) for path, width in _widths(layout).items()}

    def add(self, sample: Sample) -> None:
        """Take a sample into account."""
        for path, values in _values(sample, self._layout):
            self._moments[path].add(values)

    def units(self) -> Units:
        """Return the units of the samples so far."""
        scales: dict[str, Scale] = {}
        for path, moments in self._moments.items():
            scales[path] = moments.scale()
        if self._layout.length is None:
            scales["positions"] = self._moments["positions"].box()
        else:
            origin = np.zeros(self._layout.coordinates)
            scales["positions"] = Scale(origin, np.full_like(origin, self._layout.length))
        return Units(self._layout, scales)


def _widths(layout: Layout) -> dict[str, int]:
    """Return the quantities that have units, each with its width."""
    widths = {"positions": layout.coordinates}
    for name, quantity in layout.inputs.items():
        if quantity.is_normalised:
            widths[f"inputs.{name}"] = quantity.width
    for group, own in layout.groups.items():
        for name, quantity in own.inputs.items():
            if quantity.is_normalised:
                widths[f"{group}.inputs.{name}"] = quantity.width
        for name, quantity in own.fields.items():
            widths[f"{group}.fields.{name}"] = quantity.width
    return widths


def _values(sample: Sample, layout: Layout) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the values of each quantity that has a unit, ``(points, width)``."""
    for name, quantity in layout.inputs.items():
        if quantity.is_normalised:
            yield f"inputs.{name}", sample.inputs[name][None]
    for group, own in layout.groups.items():
        points = sample.groups[group]
        yield "positions", points.positions
        for name, quantity in own.inputs.items():
            if quantity.is_normalised:
                yield f"{group}.inputs.{name}", points.inputs[name]
        for name in own.fields:
            yield f"{group}.fields.{name}", points.fields[name]


class _Moments:
    """Mean, spread and range of rows that come in pieces.

    Chan, Golub & LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances, 1979: no large sums are subtracted from each other.
    """

    def __init__(self, width: int) -> None:
        self._count = 0
        self._mean = np.zeros(width)
        self._squares = np.zeros(width)
        self._low = np.full(width, np.inf)
        self._high = np.full(width, -np.inf)

    def add(self, rows: NDArray[Any]) -> None:
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            self._add_piece(np.asarray(rows[start : start + _ROWS_AT_ONCE], dtype=np.float64))

    def _add_piece(self, rows: FloatArray) -> None:
        count = self._count + len(rows)
        mean = rows.mean(axis=0)
        away = mean - self._mean

        self._squares += np.square(rows - mean).sum(axis=0)
        self._squares += away**2 * (self._count * len(rows) / count)
        self._mean += away * (len(rows) / count)
        self._count = count
        self._low = np.minimum(self._low, rows.min(axis=0))
        self._high = np.maximum(self._high, rows.max(axis=0))

    def scale(self) -> Scale:
        """Return mean and standard deviation; 1 for what is constant."""
        spread = np.sqrt(self._squares / max(1, self._count - 1))
        is_constant = self._high <= self._low  # the sums, being rounded, need not be 0
        return Scale(self._mean, np.where(is_constant | (spread == 0), 1.0, spread))

    def box(self) -> Scale:
        """Return the middle of the box around all rows, and half its longest side."""
        if not self._count:
            return Scale(np.zeros_like(self._mean), np.ones_like(self._mean))
        longest = float((self._high - self._low).max()) / 2
        spread = np.full_like(self._mean, longest if longest > 0 else 1.0)
        return Scale((self._low + self._high) / 2, spread)
