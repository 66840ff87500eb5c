"""Samples that are made when they are first looked at."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import overload

from noether_core.tasks import Sample

MOST_KEPT = 2**28
"""Bytes of samples that are kept."""


class LazySamples(Sequence[Sample]):
    """Samples by number, each made when it is first indexed.

    Args:
        count: How many there are.
        make: Makes the one of a number, the same whenever it is called.
        size: Bytes that each takes. Those that were made are kept where all of them fit into
            `MOST_KEPT`; otherwise, or where it is None, each is made anew whenever it is indexed.
    """

    def __init__(self, count: int, make: Callable[[int], Sample], *, size: int | None) -> None:
        self._numbers = range(count)
        self._make = make
        is_kept = size is not None and count * size <= MOST_KEPT
        self._kept: dict[int, Sample] | None = {} if is_kept else None

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
