"""Tables of a mesh that was read whole: its arrays at points or at cells, positions among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether_plugins.tasks.points.formats.source import (
    POSITIONS,
    Arrays,
    Place,
    Shape,
    Table,
    as_table,
    shape_of,
)


class MeshTable(Table):
    """Arrays of a mesh at its points, or at its cells."""

    has_positions = True

    def __init__(
        self,
        place: Place,
        positions: Callable[[], NDArray[Any]],
        arrays: Mapping[str, NDArray[Any]],
        *,
        elsewhere: Sequence[str],
        units: Mapping[str, str],
    ) -> None:
        """Take what a mesh has.

        Args:
            place: What the rows are.
            positions: Returns ``(rows, coordinates)``; called when they are needed.
            arrays: By name ``(rows, ...)``.
            elsewhere: Names of the arrays at the other place.
            units: Units by name, as far as they are known.
        """
        self._place = place
        self._find_positions = positions
        self._arrays = arrays
        self._elsewhere = elsewhere
        self._units = units
        self._positions: NDArray[Any] | None = None

    @property
    def names(self) -> Sequence[str]:  # noqa: D102  inherited
        return list(self._arrays)

    def has(self, name: str) -> bool:  # noqa: D102  inherited
        return name == POSITIONS or name in self._arrays

    def _array(self, name: str) -> NDArray[Any]:
        if name != POSITIONS:
            return self._arrays[name]
        if self._positions is None:
            self._positions = self._find_positions()
        return self._positions

    def shape(self, name: str) -> Shape:  # noqa: D102  inherited
        array = self._array(name)
        return shape_of(name, array.shape, array.dtype, self._units.get(name, ""))

    def chunks(self, names: Sequence[str]) -> Iterator[Arrays]:  # noqa: D102  inherited
        yield {name: as_table(self._array(name)) for name in names}

    def take(self, names: Sequence[str], rows: NDArray[np.int64]) -> Arrays:  # noqa: D102  inherited
        return {name: as_table(self._array(name)[rows]) for name in names}

    def where(self, row: int) -> str:  # noqa: D102  inherited
        word = self._place.removesuffix("s")
        position = self._array(POSITIONS)[row]
        numbers = ", ".join(f"{value:.6g}" for value in position)
        return f"{word} {row}, counted from 0, which is at ({numbers})"

    def hint(self, name: str) -> str:  # noqa: D102  inherited
        if name not in self._elsewhere:
            return ""
        if self._place == "points":
            return "it is there at cells: take them with 'positions: cells'"
        return "it is there at points: take them with 'positions: points'"
