"""Seconds that things take, each in its turn, so that ratios hold while the speed drifts."""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.benchmarks.machine import synchronise

_FEWEST = 3
"""Rounds that are kept however busy the machine, and that are measured however long they take if
nobody says more.
"""

_SHARE = 0.9
"""A sample whose processor time per second is below this share of what is usual for it waited for
the machine.
"""


class Sample(NamedTuple):
    """One measurement of one thing."""

    seconds: float

    busy: float
    """Processor time of this process and of those that it waited for, over the seconds that passed.
    """


class Timings(NamedTuple):
    """Seconds of one call, a column for each thing and a row for each round that counts."""

    columns: list[list[float]]
    dropped: int

    @property
    def medians(self) -> list[float]:
        return [statistics.median(column) for column in self.columns]


def take_turns(
    things: Sequence[Callable[[], object]],
    *,
    rounds: int,
    calls: int = 1,
    longest: float = 20.0,
    fewest: int = _FEWEST,
) -> Timings:
    """Time *things* in turn, after one call of each that does not count.

    Args:
        things: What is called.
        rounds: How often each is measured.
        calls: Calls that one measurement takes together; several for what takes microseconds.
        longest: Seconds after which no further round begins.
        fewest: Rounds that are measured however long they take.

    Returns:
        The seconds of one call, without the rounds in which the machine had something else to do.
    """
    for thing in things:
        thing()
    end = time.perf_counter() + longest
    samples: list[list[Sample]] = []
    while len(samples) < rounds and (len(samples) < fewest or time.perf_counter() < end):
        gc.collect()
        samples.append([_sample(thing, calls) for thing in things])
    kept = undisturbed(samples)
    columns = [[sample.seconds / calls for sample in column] for column in zip(*kept, strict=True)]
    return Timings(columns, len(samples) - len(kept))


def undisturbed(samples: Sequence[Sequence[Sample]]) -> list[Sequence[Sample]]:
    """Return the rounds in which everything had the machine to itself, at least a third of all.

    What something else takes from the machine shows as less processor time for each second. Noise
    of other kinds goes both ways, and is left to the medians.
    """
    usual = [
        _upper_quartile([sample.busy for sample in column]) for column in zip(*samples, strict=True)
    ]
    shares = [
        min(sample.busy / most if most else 1.0 for sample, most in zip(row, usual, strict=True))
        for row in samples
    ]
    fewest = min(len(samples), max(_FEWEST, len(samples) // 3))
    least = min(_SHARE, sorted(shares, reverse=True)[fewest - 1])
    return [row for row, share in zip(samples, shares, strict=True) if share >= least]


def _upper_quartile(values: list[float]) -> float:
    return (
        max(values)
        if len(values) < _FEWEST
        else statistics.quantiles(values, n=4, method="inclusive")[2]
    )


def _sample(thing: Callable[[], object], calls: int) -> Sample:
    busy, start = _processor_seconds(), time.perf_counter()
    for _ in range(calls):
        thing()
    synchronise()
    seconds = time.perf_counter() - start
    return Sample(seconds, (_processor_seconds() - busy) / seconds)


def _processor_seconds() -> float:
    ends = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ends.ru_utime + ends.ru_stime
