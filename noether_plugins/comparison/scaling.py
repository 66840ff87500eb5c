"""Time and memory over the number of tokens, and the exponents with which they grow."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from noether_plugins.comparison.record import Scaling
from noether_plugins.comparison.turns import Subject, take_turns

_FIRST = 1024
"""Tokens of the first size; each other has twice as many as the one before."""

_SIZES = 21
"""Sizes at most: up to a thousand million tokens."""

_SAMPLES = 3
"""Samples of each size, and of those that take long one."""

_LONG = 0.5
_SHORTEST = 0.02
"""Seconds of a sample: of what takes less, several calls are timed together."""

_FEWEST_SIZES = 3
"""Sizes that an exponent is fitted to, at least."""

_MOST_LOST = 3
"""Sizes, one after the other, whose samples were all dropped; behind them the machine is taken to
stay busy, and one round is tried of each size.
"""

_LEAST_GROWTH, _MOST_GROWTH = 2.0, 4.5
"""How much more twice the tokens are expected to take: with an exponent from 1 to somewhat above 2.
"""

_SHARE_OF_MEMORY = 0.5
"""Of the memory that a run may take: what more is expected to need it is not tried."""


@attrs.define
class Growth:
    """How far a row has come."""

    subject: Subject

    memory: float
    """Bytes that it may take."""

    tokens: list[int] = attrs.field(factory=list)
    seconds: list[float | None] = attrs.field(factory=list)
    bytes: list[int] = attrs.field(factory=list)
    dropped: int = 0
    spent: float = 0.0
    """Seconds that it was measured for."""

    lost: int = 0
    """Sizes, one after the other up to the last, of which all samples were dropped."""

    is_over: bool = False
    """Whether no larger size is tried."""

    last: tuple[float, float] = (0.0, 0.0)
    """Seconds and bytes of the last size that was tried, disturbed or not."""

    before: tuple[float, float] = (0.0, 0.0)
    """Those of the size before that."""

    def try_memory(self, size: int) -> None:
        """Measure the memory of so many tokens, by a call that warms up for what is timed."""
        start = time.monotonic()
        result = self.subject.ask("scale", tokens=size, calls=1, memory=True)
        self.spent += time.monotonic() - start
        if result is None or result.get("is_too_large"):
            self.is_over = True
            return
        self.before, self.last = self.last, (result["seconds"], result["bytes"])

    def time(self, size: int) -> Mapping[str, Any] | None:
        """Take a sample of the time of so many tokens."""
        calls = max(1, math.ceil(_SHORTEST / max(self.last[0], 1e-6)))
        start = time.monotonic()
        result = self.subject.ask("scale", tokens=size, calls=calls, memory=False)
        self.spent += time.monotonic() - start
        if result is None or result.get("is_too_large"):
            self.is_over = True
            return None
        # Who counts bytes takes longer, and the first call of all longer still.
        self.last = (min(self.last[0], result["seconds"]), self.last[1])
        return result

    def may_go_on(self, budget: float, longest: float) -> bool:
        """Return whether twice as many tokens are expected to stay within the limits."""
        if self.is_over or self.subject.error:
            return False
        seconds, bytes_ = map(_expected, self.last, self.before)
        calls = 2 if seconds > _LONG else 1 + _SAMPLES
        return (
            seconds <= longest
            and self.spent + calls * seconds <= budget
            and bytes_ <= _SHARE_OF_MEMORY * self.memory
        )

    def scaling(self) -> Scaling | None:
        """Return what was measured; None where that is nothing."""
        if not self.tokens:
            return None
        return Scaling(
            tokens=tuple(self.tokens),
            seconds=tuple(self.seconds),
            bytes=tuple(self.bytes),
            time_exponent=fitted_exponent(self.tokens, self.seconds),
            memory_exponent=fitted_exponent(self.tokens, self.bytes),
            dropped=self.dropped,
        )


def grow(rows: Sequence[Growth], *, seconds: float, longest: float, attempts: int) -> None:
    """Measure rows at sizes that double, in turns at each, until a limit is met.

    Args:
        rows: The rows; what is measured is put there.
        seconds: How long all of them may take together.
        longest: Seconds that a call is expected to take at most.
        attempts: As in `take_turns`.
    """
    budget = seconds / max(1, len(rows))
    for size in _sizes():
        going = [row for row in rows if row.may_go_on(budget, longest)]
        if not going:
            return
        for row in going:
            row.try_memory(size)
        _time(size, going, attempts)


def _sizes() -> Iterator[int]:
    for doublings in range(_SIZES):
        yield _FIRST << doublings


def _time(size: int, rows: Sequence[Growth], attempts: int) -> None:
    by_name = {row.subject.name: row for row in rows if not row.is_over and not row.subject.error}
    for is_long in (False, True):
        some = [row for row in by_name.values() if (row.last[0] > _LONG) is is_long]
        is_hopeless = bool(some) and all(row.lost >= _MOST_LOST for row in some)
        samples = take_turns(
            [row.subject for row in some],
            lambda subject: by_name[subject.name].time(size),
            rounds=1 if is_long or is_hopeless else _SAMPLES,
            attempts=1 if is_hopeless else attempts,
            end=math.inf,
        )
        for row in some:
            taken = samples[row.subject.name]
            row.dropped += taken.dropped
            row.lost = 0 if taken.kept else row.lost + 1
            if row.is_over or row.subject.error:
                continue
            row.tokens.append(size)
            row.seconds.append(float(np.median(taken.kept)) if taken.kept else None)
            row.bytes.append(int(row.last[1]))


def _expected(last: float, before: float) -> float:
    """Return what twice the tokens are expected to take."""
    ratio = last / before if before else _LEAST_GROWTH
    return last * float(np.clip(ratio, _LEAST_GROWTH, _MOST_GROWTH))


def fitted_exponent(tokens: Sequence[int], values: Sequence[float | None]) -> float | None:
    """Return the exponent of the tokens in values, by least squares of the logarithms.

    The upper half of the sizes is looked at, and three at least: below it much takes as long
    however many tokens there are. None where there are fewer than three with a value above 0.
    """
    known = [(size, value) for size, value in zip(tokens, values, strict=True) if value]
    if len(known) < _FEWEST_SIZES:
        return None
    upper = known[-max(_FEWEST_SIZES, math.ceil(len(known) / 2)) :]
    sizes, numbers = zip(*upper, strict=True)
    slope, _ = np.polyfit(np.log(sizes), np.log(numbers), 1)
    return float(slope)
