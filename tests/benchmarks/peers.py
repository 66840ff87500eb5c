"""Every variant beside `torch.nn.MultiheadAttention` and x-transformers."""

from __future__ import annotations

import functools
import itertools
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple, get_args

from noether_core import registry
from tests.benchmarks.memory import peaks
from tests.benchmarks.results import Beside, Curve, Result, Unit
from tests.benchmarks.running import begin, measured
from tests.benchmarks.straightforward import FORMS
from tests.benchmarks.timing import Timings, take_turns
from tests.benchmarks.workloads import FAMILIES, Fact, peers, step, variants

_MEMORY = "memory, forward and backward"

_FIRST = 64
"""Tokens of the step that does not count."""


class _Contender(NamedTuple):
    """A variant, the straightforward form of a family, or a peer."""

    name: str
    is_cross: bool

    @property
    def is_variant(self) -> bool:
        return self.name in FAMILIES

    @property
    def family(self) -> str | None:
        """The picture in which it is drawn; None for peers, which are in all."""
        return self.name if self.name in FORMS else FAMILIES.get(self.name)

    @property
    def line(self) -> str:
        """What it is called in the picture of its family."""
        return "straightforward" if self.name in FORMS else self.name


class _Costs(NamedTuple):
    """What each contender costs at each size; several numbers for each, one a round."""

    fact: str
    unit: Unit
    sizes: Sequence[int]
    found: dict[_Contender, list[list[float]]]


def claims(*, quick: bool) -> list[Result]:
    """Measure time forward, with backward, and the memory of that."""
    sizes = [64, 128] if quick else [1024, 4096, 16384]
    contenders = _contenders()
    costs = [_times(contenders, fact, sizes) for fact in get_args(Fact)]
    costs.append(_memory(contenders, sizes, apart=not quick))
    return [
        *(beside for each in costs for beside in _besides(each)),
        *(curve for each in costs for curve in _curves(each)),
    ]


def _contenders() -> list[_Contender]:
    ours = [_Contender(name, registry().get(name).interface == "cross") for name in variants()]
    forms = [_Contender(family, is_cross=False) for family in FORMS]
    return [
        *ours,
        *forms,
        *(_Contender(name, is_cross) for name in peers() for is_cross in (False, True)),
    ]


def _times(contenders: Sequence[_Contender], fact: Fact, sizes: Sequence[int]) -> _Costs:
    found: dict[_Contender, list[list[float]]] = {contender: [] for contender in contenders}
    for size in sizes:
        begin(f"{fact}, {size:,} tokens")
        turns = measured(
            functools.partial(_turns, contenders, fact, size), Timings([[1.0]] * len(contenders), 0)
        )
        for contender, column in zip(contenders, turns.columns, strict=True):
            found[contender].append(column)
    return _Costs(fact, "seconds", sizes, found)


def _turns(contenders: Sequence[_Contender], fact: Fact, size: int) -> Timings:
    steps = [step(each.name, fact, size, is_cross=each.is_cross) for each in contenders]
    return take_turns(steps, rounds=15, longest=10.0, fewest=2)


def _memory(contenders: Sequence[_Contender], sizes: Sequence[int], *, apart: bool) -> _Costs:
    """Measure the bytes of each contender.

    Each has a process of its own where *apart*; one process for all takes less time.
    """
    begin(_MEMORY)
    groups = [[each] for each in contenders] if apart else [contenders]
    found = [column for group in groups for column in _peaks(group, sizes)]
    return _Costs(_MEMORY, "bytes", sizes, dict(zip(contenders, found, strict=True)))


def _peaks(contenders: Sequence[_Contender], sizes: Sequence[int]) -> Iterator[list[list[float]]]:
    """Yield the bytes of each contender at each size.

    A first step, which does not count, starts what starts once.
    """
    wanted = [(each, size) for each in contenders for size in (_FIRST, *sizes)]
    steps = [
        (step, (each.name, "forward and backward", size), {"is_cross": each.is_cross})
        for each, size in wanted
    ]
    found = iter(peaks(steps))
    for _ in contenders:
        _, *counted = itertools.islice(found, 1 + len(sizes))
        yield [[float(count)] for count in counted]


def _besides(costs: _Costs) -> list[Beside]:
    return [
        Beside(
            contender.name,
            costs.fact,
            size,
            costs.unit,
            statistics.median(rounds[at]),
            _others(costs, contender, at),
        )
        for contender, rounds in costs.found.items()
        if contender.is_variant
        for at, size in enumerate(costs.sizes)
    ]


def _others(costs: _Costs, ours: _Contender, at: int) -> dict[str, tuple[float, list[float]]]:
    """Return what each peer costs that does the same: reads as many tokens, for as many."""
    mine = costs.found[ours][at]
    same = {
        each.name: rounds[at] for each, rounds in costs.found.items() if _is_peer_of(each, ours)
    }
    return {
        name: (
            statistics.median(theirs),
            [one / two for one, two in zip(mine, theirs, strict=True)],
        )
        for name, theirs in same.items()
    }


def _curves(costs: _Costs) -> list[Curve]:
    """Return the lines of the pictures: those of a family, and in each those of the peers."""
    curves = []
    for family in dict.fromkeys(FAMILIES.values()):
        ours = [each for each in costs.found if each.family == family]
        theirs = [each for each in costs.found if _is_peer_of(each, ours[0])]
        for each in (*ours, *theirs):
            medians = [statistics.median(rounds) for rounds in costs.found[each]]
            curves.append(
                Curve(family, each.line, costs.fact, costs.unit, list(costs.sizes), medians)
            )
    return curves


def _is_peer_of(contender: _Contender, ours: _Contender) -> bool:
    return contender.family is None and contender.is_cross == ours.is_cross
