"""What a step of each row costs, measured in turns so that no row has the better moment.

Each row has a process of its own, and one of them computes at a time. A round times every row once,
and begins with another row each time: what makes the machine slow for a minute is slow for all.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from noether_core import unstructure
from noether_plugins.comparison.plan import Entry
from noether_plugins.comparison.record import Scaling, Timing
from noether_plugins.comparison.scaling import Growth, grow
from noether_plugins.comparison.turns import Samples, Subject, take_turns
from noether_plugins.comparison.workers import COMMAND, Worker, closing

_GROUP = 16
"""Rows that are measured together; each of their processes holds some 350 MB."""

_FEWEST_SHARES = 4
"""Rows that have their share of the time at least: few of them have time for some more."""

_SHORTEST = 0.02
"""Seconds of a sample: of what takes less, several calls are timed together."""


@attrs.frozen(kw_only=True)
class Limits:
    """How long it may take to measure; where it may not hold, what is said is how far it came."""

    longest: float = 300.0
    """Seconds of one order to a process, its start included; behind them it is taken to hang."""

    steps: float = 60.0
    """Seconds of the rounds of steps, with 16 rows."""

    scaling: float = 90.0
    """Seconds of the rounds over growing numbers of tokens, with 16 rows; 0 for none of these."""

    call: float = 3.0
    """Seconds of one call there."""

    attempts: int = 3
    """Rounds in all, over those that are wanted, where samples are dropped."""


@attrs.frozen(kw_only=True)
class Cost:
    """What a step of a row costs, as far as it could be measured."""

    step: Timing | None = None
    """A step of the training, on a batch of the task."""

    tokens: int | None = None
    """Points of that batch, without padding."""

    scaling: Scaling | None = None
    """Forward and backward over growing numbers of tokens."""

    error: str = ""
    """Why the rest could not be measured; empty where nothing failed."""


def measure_costs(
    entries: Sequence[Entry],
    *,
    report: Callable[[str], None],
    rounds: int = 15,
    limits: Limits = Limits(),
    environment: Mapping[str, str] = {},
    command: Sequence[str] = COMMAND,
) -> dict[str, Cost]:
    """Return what each row costs, by its name.

    A step is one of the training, on real samples; its median and quartiles are those of samples in
    which the process had the machine to itself. Forward and backward are then timed on random
    points, in numbers that double from 1,024 on.

    Args:
        entries: The rows, of one task.
        report: Called with a line for whoever waits.
        rounds: Samples that are wanted of each row.
        limits: How long it may take.
        environment: Variables that the processes have beside those of this one, such as the number
            of threads that a run has.
        command: The process of a row.
    """
    costs: dict[str, Cost] = {}
    for start in range(0, len(entries), _GROUP):
        group = entries[start : start + _GROUP]
        share = max(len(group), _FEWEST_SHARES) / _GROUP
        workers = [
            Worker(longest=limits.longest, command=command, environment=environment) for _ in group
        ]
        measuring = _Measuring(group, workers, report, limits, share)
        with closing(workers):
            measuring.start()
            measuring.time_steps(rounds)
            measuring.grow()
            costs |= measuring.costs()
    return costs


class _Measuring:
    """A group of rows, in the order of what is done with them."""

    def __init__(
        self,
        entries: Sequence[Entry],
        workers: Sequence[Worker],
        report: Callable[[str], None],
        limits: Limits,
        share: float,
    ) -> None:
        self._entries, self._report, self._limits, self._share = entries, report, limits, share
        self.subjects = [
            Subject(entry.name, worker) for entry, worker in zip(entries, workers, strict=True)
        ]
        self._starts: dict[str, dict[str, Any]] = {}
        self._samples: dict[str, Samples] = {}
        self._growths: dict[str, Growth] = {}

    def start(self) -> None:
        """Make all models, on as many processors as there are."""
        self._report("making models and samples of each row, to measure them in turns")
        at_once = os.cpu_count() or 1
        pairs = [*zip(self.subjects, self._entries, strict=True)]
        for first in range(0, len(pairs), at_once):
            some = pairs[first : first + at_once]
            for subject, entry in some:
                subject.send("start", experiment=unstructure(entry.experiment))
            for subject, _ in some:
                result = None if subject.error else subject.receive()
                if result is not None:
                    self._starts[subject.name] = result

    def time_steps(self, rounds: int) -> None:
        """Time steps of the training."""
        self._report("measuring a step of each row")

        def step(subject: Subject) -> dict[str, Any] | None:
            seconds = self._starts[subject.name]["seconds"]
            return subject.ask("step", calls=math.ceil(_SHORTEST / max(seconds, 1e-6)))

        self._samples = take_turns(
            self._going,
            step,
            rounds=rounds,
            attempts=self._limits.attempts,
            end=time.monotonic() + self._limits.steps * self._share,
        )

    def grow(self) -> None:
        """Measure growing numbers of tokens."""
        if not self._limits.scaling:
            return
        self._report("measuring time and memory over tokens")
        for subject in self._going:
            memory = self._starts[subject.name]["memory"]
            self._growths[subject.name] = Growth(subject, memory)
        grow(
            [*self._growths.values()],
            seconds=self._limits.scaling * self._share,
            longest=self._limits.call,
            attempts=self._limits.attempts,
        )

    def costs(self) -> dict[str, Cost]:
        """Return what was measured, by row."""
        costs: dict[str, Cost] = {}
        for subject in self.subjects:
            name = subject.name
            samples, growth = self._samples.get(name), self._growths.get(name)
            is_timed = samples is not None and bool(samples.kept or samples.dropped)
            costs[name] = Cost(
                step=samples.timing() if samples is not None and is_timed else None,
                tokens=self._starts[name]["tokens"] if name in self._starts else None,
                scaling=None if growth is None else growth.scaling(),
                error=subject.error,
            )
        return costs

    @property
    def _going(self) -> list[Subject]:
        """Rows that have not failed."""
        return [subject for subject in self.subjects if not subject.error]
