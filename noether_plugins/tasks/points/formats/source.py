"""What every format gives: tables of numbers, in parts or by rows, and a copy with more."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import attrs
import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
"""By name ``(rows, width)``, of float32 or float64."""

Place = Literal["points", "cells"]
"""What the rows of a mesh's table are."""

POSITIONS: Final = ""
"""The name under which a mesh has the positions of its points, or the centres of its cells."""

CHUNK_ROWS: Final = 1 << 16
"""Rows that are read at once, where a format is read in parts."""


class FileFault(Exception):  # noqa: N818  never seen outside: it becomes part of a TaskError
    """What is wrong with a file, each in a sentence."""

    def __init__(self, *faults: str) -> None:
        super().__init__(*faults)
        self.faults = faults


@attrs.frozen
class Shape:
    """How large an array in a file is."""

    rows: int | None
    """None where only reading says."""

    width: int

    unit: str = ""
    """What the file says its unit is."""


@attrs.frozen
class Addition:
    """An array to add to a file."""

    place: Place
    name: str
    values: NDArray[Any]
    """``(rows,)`` or ``(rows, width)``."""


class Table(abc.ABC):
    """Arrays of a file that have a row for each point."""

    has_positions = False
    """Whether it is of a mesh, which has positions of its own."""

    @property
    @abc.abstractmethod
    def names(self) -> Sequence[str]:
        """The names of its arrays, `POSITIONS` left out."""

    def has(self, name: str) -> bool:
        """Return whether there is an array of that name."""
        return name in self.names

    @abc.abstractmethod
    def shape(self, name: str) -> Shape:
        """Return how large an array is.

        Raises:
            FileFault: If it holds no numbers, or has no row for each point.
        """

    @abc.abstractmethod
    def chunks(self, names: Sequence[str]) -> Iterator[Arrays]:
        """Yield some arrays in parts, one after the other.

        Raises:
            FileFault: If what stands there cannot be read.
        """

    @abc.abstractmethod
    def take(self, names: Sequence[str], rows: NDArray[np.int64]) -> Arrays:
        """Return some rows, which rise, of some arrays."""

    def where(self, row: int) -> str:
        """Return where a row is, in words."""
        return f"row {row}, counted from 0"

    def hint(self, name: str) -> str:  # noqa: ARG002  for others
        """Return where else an array of that name is, or nothing."""
        return ""


class File(abc.ABC):
    """An open file of any format."""

    @abc.abstractmethod
    def table(self, place: Place) -> Table:
        """Return its arrays at points or cells; a file that is no mesh has one table."""

    @abc.abstractmethod
    def whole(self, name: str) -> NDArray[Any]:
        """Return ``(width,)`` numbers that are about the file as a whole.

        Raises:
            FileFault: If there are none of that name.
        """

    @abc.abstractmethod
    def write(self, path: str, additions: Sequence[Addition]) -> None:
        """Write what the file holds, and more, to a new one in the same format.

        Raises:
            FileFault: If the format cannot hold all of it.
        """


def as_table(array: NDArray[Any]) -> NDArray[Any]:
    """Return ``(rows,)`` or ``(rows, width)`` numbers as ``(rows, width)`` of float32 or float64.

    Integers become float64, which holds all that are counted; halves become float32.
    """
    kind = np.result_type(array.dtype, np.float32)
    if kind != np.float32:
        kind = np.dtype(np.float64)
    rows = array[:, None] if array.ndim == 1 else array
    return np.ascontiguousarray(rows, dtype=kind)


def shape_of(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], unit: str = "") -> Shape:
    """Return the size of an array that has a row for each point.

    Raises:
        FileFault: If it is no such array.
    """
    if dtype.kind not in "fiub":
        raise FileFault(f"{name!r} holds no numbers, but {dtype}")
    if len(shape) not in (1, 2):
        raise FileFault(f"{name!r} has the shape {shape}, expected (points,) or (points, width)")
    return Shape(shape[0], 1 if len(shape) == 1 else shape[1], unit)


def as_whole(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return numbers about a file as a whole as ``(width,)``.

    Raises:
        FileFault: If they are no numbers, or more than one row of them.
    """
    if array.dtype.kind not in "fiub":
        raise FileFault(f"{name!r} holds no numbers, but {array.dtype}")
    if array.size == 0 or array.ndim > 2 or (array.ndim == 2 and len(array) != 1):  # noqa: PLR2004
        raise FileFault(f"{name!r} has the shape {array.shape}, expected one number or vector")
    row: NDArray[Any] = as_table(array.reshape(1, -1))[0]
    return row


def constant_of(table: Table, name: str) -> NDArray[Any]:
    """Return ``(width,)`` numbers that are the same in all rows of a table.

    Raises:
        FileFault: If they are not, or there is no such column.
    """
    if not table.has(name):
        raise FileFault(f"has no column {name!r} for the case as a whole")
    table.shape(name)
    first: NDArray[Any] | None = None
    row = 0
    for chunk in table.chunks([name]):
        values = chunk[name]
        if first is None:
            first = values[0]
        differs = (values != first).any(axis=1)
        if differs.any():
            place = table.where(row + int(differs.argmax()))
            raise FileFault(
                f"{name!r} is about the case as a whole, but its rows differ: the first that does "
                f"is {place}"
            )
        row += len(values)
    if first is None:
        raise FileFault("has no rows")
    return first
