"""Rows measured in turns: one computes at a time, and what was disturbed does not count."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from noether_plugins.comparison.record import Timing
from noether_plugins.comparison.workers import Worker, WorkerError

_WAITED = 0.05
"""Share of a sample that threads may have waited for a processor; beyond it, it is dropped."""

_LESS = 0.85
"""Where the system does not count that: the share of its most processor time per second below
which a sample of a row is dropped.
"""

_FEWEST = 3
"""Rounds that are measured however long they take."""

_PAUSE = 0.2
"""Seconds until the next round where all of one was dropped: most disturbances are short."""


@attrs.define
class Samples:
    """What was measured of one thing so far."""

    kept: list[float] = attrs.field(factory=list)
    """Seconds."""

    dropped: int = 0
    """How many more there were, in which the machine was busy with something else."""

    def timing(self) -> Timing:
        """Return median and quartiles; no numbers where all samples were dropped."""
        if not self.kept:
            return Timing(median=None, lower=None, upper=None, samples=0, dropped=self.dropped)
        lower, median, upper = (float(each) for each in np.quantile(self.kept, (0.25, 0.5, 0.75)))
        return Timing(
            median=median, lower=lower, upper=upper, samples=len(self.kept), dropped=self.dropped
        )


class Subject:
    """A row that is measured, in a process of its own, until it fails.

    Args:
        name: Name of the row.
        worker: Its process.
    """

    def __init__(self, name: str, worker: Worker) -> None:
        self.name = name
        self.worker = worker
        self.error = ""
        """Why nothing more can be measured."""

        self._most = 0.0

    def receive(self) -> dict[str, Any] | None:
        """Return the result of an order that was sent; None if the row failed."""
        try:
            return self.worker.receive()
        except WorkerError as error:
            self.error = str(error)
            return None

    def send(self, order: str, **arguments: Any) -> None:
        """Send an order; that the process is over is seen when its result is received."""
        try:
            self.worker.send(order, **arguments)
        except WorkerError as error:
            self.error = str(error)

    def ask(self, order: str, **arguments: Any) -> dict[str, Any] | None:
        """Return the result of an order; None if the row failed."""
        self.send(order, **arguments)
        return None if self.error else self.receive()

    def is_disturbed(self, result: Mapping[str, Any]) -> bool:
        """Return whether the machine did something else while a result was measured."""
        if result["waited"] is not None:
            return bool(result["waited"] > _WAITED)
        self._most = max(self._most, result["processor"])
        return bool(result["processor"] < _LESS * self._most)


def take_turns(
    subjects: Sequence[Subject],
    measure: Callable[[Subject], Mapping[str, Any] | None],
    *,
    rounds: int,
    attempts: int,
    end: float,
) -> dict[str, Samples]:
    """Measure rows in rounds, each of which begins with another row.

    Args:
        subjects: The rows; one that fails is left out from there on.
        measure: Returns the seconds of one sample, and whether it had to wait; None if it failed.
        rounds: Samples that are wanted of each.
        attempts: Rounds in all are at most so many times as many, where samples are dropped.
        end: When, on the monotonic clock, no more rounds begin but the first three.
    """
    samples = {subject.name: Samples() for subject in subjects}
    for number in range(rounds * attempts):
        left = [
            subject
            for subject in subjects
            if not subject.error and len(samples[subject.name].kept) < rounds
        ]
        if not left or (number >= _FEWEST and time.monotonic() > end):
            break
        first = number % len(left)
        is_any_kept = False
        for subject in (*left[first:], *left[:first]):
            result = measure(subject)
            if result is None:
                continue
            if subject.is_disturbed(result):
                samples[subject.name].dropped += 1
            else:
                samples[subject.name].kept.append(float(result["seconds"]))
                is_any_kept = True
        if not is_any_kept:
            time.sleep(_PAUSE)
    return samples
