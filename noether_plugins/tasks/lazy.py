"""Samples that are made when they are first looked at."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import overload

from noether_core.tasks import Sample


class LazySamples(Sequence[Sample]):
    """Samples by number, each made when it is first indexed.

    Args:
        count: How many there are.
        make: Makes the one of a number, the same whenever it is called.
        keep: Whether those that were made are kept; otherwise each is made whenever it is indexed.
    """

    def __init__(self, count: int, make: Callable[[int], Sample], *, keep: bool = True) -> None:
        self._numbers = range(count)
        self._make = make
        self._kept: dict[int, Sample] | None = {} if keep else None

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(index, slice):
            return [self[number] for number in self._numbers[index]]
        number = self._numbers[operator.index(index)]
        if self._kept is None:
            return self._make(number)
        if number not in self._kept:
            self._kept[number] = self._make(number)
        return self._kept[number]
