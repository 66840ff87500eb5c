"""Keys and values of the groups that are read, whether they are of this call or of an earlier one."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from noether_core.nn import KeyValues, take_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable


class Place(NamedTuple):
    """Where the keys and values of a group are."""

    source: int
    """Number of the tensors that hold them."""

    span: slice
    """The tokens in those tensors."""


class Answers:
    """Keys and values by group, in few tensors; groups that lie behind each other are handed out as views."""

    def __init__(self) -> None:
        self._sources: list[KeyValues] = []
        self._places: dict[str, Place] = {}

    def add(self, source: KeyValues, sizes: Iterable[tuple[str, int]]) -> None:
        """Add the groups that *source* holds one behind the other; *sizes* are their names and numbers of tokens."""
        stop = 0
        for name, size in sizes:
            start, stop = stop, stop + size
            self._places[name] = Place(len(self._sources), slice(start, stop))
        self._sources.append(source)

    def of(self, names: Iterable[str]) -> KeyValues:
        """Return the keys and values of groups, one behind the other."""
        places = [self._places[name] for name in names]
        parts = [
            _taken(self._sources[number], [place.span for place in run])
            for number, run in itertools.groupby(places, key=lambda place: place.source)
        ]
        if len(parts) == 1:
            return parts[0]
        return KeyValues(
            torch.cat([part.keys for part in parts], dim=2),
            torch.cat([part.values for part in parts], dim=2),
            _joined_masks(parts),
        )


def _taken(source: KeyValues, spans: list[slice]) -> KeyValues:
    real = None if source.real is None else take_tokens(source.real, spans, dim=1)
    return KeyValues(take_tokens(source.keys, spans, dim=2), take_tokens(source.values, spans, dim=2), real)


def _joined_masks(parts: list[KeyValues]) -> Tensor | None:
    """Return one mask for all *parts*, in which tokens of those without a mask are real."""
    if all(part.real is None for part in parts):
        return None
    masks = [
        part.keys.new_ones(part.keys.shape[0], part.keys.shape[2], dtype=torch.bool) if part.real is None else part.real
        for part in parts
    ]
    return torch.cat(masks, dim=1)
