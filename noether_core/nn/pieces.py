"""An axis of tokens cut into pieces, so that groups are taken from it without a copy where they
stand together.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Runs: TypeAlias = tuple[tuple[int, int], ...]
"""Pieces that are taken one behind the other: of each run of neighbours the first, and the one
behind the last.
"""


class Cut(NamedTuple):
    """Where an axis is cut."""

    lengths: tuple[int, ...]
    """Tokens of each piece; together they are the axis."""

    runs: tuple[Runs, ...]
    """What is wanted of the axis, in pieces."""


def cut_groups(sizes: Mapping[str, int], wanted: Iterable[Sequence[str]]) -> Cut:
    """Return where to cut an axis so that groups can be taken from it.

    It asks for no size, only for the order of the groups: a graph that was compiled for some sizes
    fits all.

    Args:
        sizes: The groups on the axis, one behind the other, and their tokens.
        wanted: Names of the groups that are taken together, in the order in which they are to
            stand.
    """
    places = {name: place for place, name in enumerate(sizes)}
    runs = [_runs([places[name] for name in names]) for names in wanted]

    bounds = sorted({0, len(sizes), *(bound for some in runs for run in some for bound in run)})
    number = {bound: place for place, bound in enumerate(bounds)}
    of_groups = tuple(sizes.values())
    lengths = tuple(_total(of_groups[start:stop]) for start, stop in itertools.pairwise(bounds))
    return Cut(
        lengths,
        tuple(tuple((number[first], number[stop]) for first, stop in some) for some in runs),
    )


class Pieces:
    """A tensor whose axis of tokens is cut.

    Args:
        tensor: What is cut.
        lengths: Tokens of each piece, as `cut_groups` returns them.
        dim: The axis of the tokens.
    """

    __slots__ = ("_dim", "_lengths", "_pieces", "_tensor")

    def __init__(self, tensor: Tensor, lengths: tuple[int, ...], dim: int) -> None:
        self._tensor = tensor
        self._lengths = lengths
        self._dim = dim
        # One cut for all pieces: its gradient is written once, where each narrow would fill the
        # whole axis with zeros.
        self._pieces = tensor.split_with_sizes(lengths, dim) if len(lengths) > 1 else (tensor,)

    def take(self, runs: Runs) -> Tensor:
        """Return the tokens of *runs*, one behind the other; a view where they are one run."""
        if len(runs) == 1:
            return self._run(*runs[0])
        return torch.cat([self._run(first, stop) for first, stop in runs], self._dim)

    def _run(self, first: int, stop: int) -> Tensor:
        if stop - first == 1:
            return self._pieces[first]
        if stop - first == len(self._lengths):
            return self._tensor
        return self._tensor.narrow(
            self._dim, _total(self._lengths[:first]), _total(self._lengths[first:stop])
        )


def take_runs(tensor: Tensor, cut: Cut, *, dim: int) -> Tensor:
    """Return the tokens of the first that *cut* wants of the axis *dim*; a view where they are one
    run.
    """
    return Pieces(tensor, cut.lengths, dim).take(cut.runs[0])


def _total(sizes: Iterable[int]) -> int:
    """Return the sum of *sizes*, added one by one: files of ``torch.export`` have no sum of several
    symbols.
    """
    total = 0
    for size in sizes:
        total += size
    return total


def _runs(places: Sequence[int]) -> Runs:
    """Return *places* as runs of neighbours."""
    runs: list[tuple[int, int]] = []
    for place in places:
        if runs and runs[-1][1] == place:
            runs[-1] = (runs[-1][0], place + 1)
        else:
            runs.append((place, place + 1))
    return tuple(runs)
