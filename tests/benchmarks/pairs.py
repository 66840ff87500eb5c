"""Ours beside what it is compared with: the door for whoever writes a subject.

A subject is a file of this folder with ``claims(*, quick: bool) -> list``, which measures and
returns results; with *quick* within seconds, to see that it runs. Its name stands in
`subjects.SUBJECTS`. Everything is measured by

- `compare`: a ratio of times, ours over the reference, in turn; its budget is a maximum, ``1 /
  1.7`` for 1.7 times as fast, and `math.inf` for a ratio that is shown and not promised,
- `compare_bytes`: the same of memory, each side a ``functools.partial`` of a function at the top of
  a module that makes modules and inputs and returns the step to measure; each is called in a
  process of its own,
- `compare_commands`: a ratio of times of whole processes,
- `growth`: the fitted exponent over sizes, of ``lambda size: seconds(...)`` or
  ``peak_bytes(prepare, size)``,
- `bound`: a number and its maximum, anything that a function finds, bytes and counts among them,
- `curve`: a line of the picture of a family, over numbers of tokens, such as the straightforward
  form.

Each calls what it is given only while it runs, and nothing at all where the names of results are
asked for: a subject measures nothing beside them (`measured` is for what must). Inputs lie on
`device()`; a GPU is waited for. Sizes are those of the promise, small ones when *quick*; the
reference, the straightforward form, is written out beside ours. It gets the same weights and
inputs, and both are called alike: with ``backward()`` or under ``torch.no_grad()``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence

from tests.benchmarks.machine import device
from tests.benchmarks.memory import in_child, peak_bytes
from tests.benchmarks.results import Bound, Claim, Curve, Growth, Result, Unit
from tests.benchmarks.running import begin, measured
from tests.benchmarks.timing import Timings, take_turns

__all__ = [
    "Bound",
    "Claim",
    "Curve",
    "Growth",
    "Result",
    "bound",
    "compare",
    "compare_bytes",
    "compare_commands",
    "curve",
    "device",
    "growth",
    "in_child",
    "measured",
    "peak_bytes",
    "python",
    "seconds",
]


def compare(
    name: str,
    budget: float,
    ours: Callable[[], object],
    reference: Callable[[], object],
    *,
    rounds: int,
    calls: int = 1,
    longest: float = 20.0,
) -> Claim:
    """Time *ours* against *reference*, in turn, after one warm-up of each.

    Args:
        name: What is compared, with its sizes: ``ours / reference, sizes``.
        budget: The most that the median of the ratios may be.
        ours: What is called.
        reference: What it is compared with.
        rounds: How often the two are measured.
        calls: Calls that are measured together; several for what takes microseconds.
        longest: Seconds after which no further round begins, once three are measured.
    """
    begin(name)
    timings = measured(
        lambda: take_turns([ours, reference], rounds=rounds, calls=calls, longest=longest),
        Timings([[1.0], [1.0]], 0),
    )
    mine, other = timings.medians
    ratios = [one / two for one, two in zip(*timings.columns, strict=True)]
    return Claim(name, budget, ratios, (mine, other), "seconds", timings.dropped)


def compare_bytes(
    name: str,
    budget: float,
    ours: Callable[[], Callable[[], object]],
    reference: Callable[[], Callable[[], object]],
    *,
    rounds: int = 1,
) -> Claim:
    """Compare the memory of two steps, as `peak_bytes` counts it.

    Args:
        name: What is compared, with its sizes.
        budget: The most that the median of the ratios may be.
        ours: What returns the step, a function at the top of a module or a ``functools.partial`` of
            one.
        reference: Likewise.
        rounds: Processes of each; the bytes of one differ little from those of the next.
    """
    begin(name)
    pairs = [(peak_bytes(ours), peak_bytes(reference)) for _ in range(rounds)]
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Claim(name, budget, [one / two for one, two in pairs], (mine, other), "bytes")


def compare_commands(
    name: str, budget: float, ours: list[str], reference: list[str], *, rounds: int
) -> Claim:
    """Time two commands as whole processes."""
    return compare(name, budget, lambda: _run(ours), lambda: _run(reference), rounds=rounds)


def growth(
    name: str, budget: float, sizes: Sequence[int], measure: Callable[[int], float]
) -> Growth:
    """Fit how what *measure* finds grows with the sizes that it is called with."""
    begin(name)
    return Growth(
        name,
        budget,
        list(sizes),
        [measured(lambda size=size: measure(size), 1.0) for size in sizes],
    )


def bound(name: str, budget: float, measure: Callable[[], float | tuple[float, str]]) -> Bound:
    """Return what *measure* finds, a number or one with a note, beside the most that it may be."""
    begin(name)
    found = measured(measure, 1.0)
    number, note = found if isinstance(found, tuple) else (found, "")
    return Bound(name, budget, number, note)


def curve(
    family: str,
    line: str,
    fact: str,
    sizes: Sequence[int],
    measure: Callable[[int], float],
    *,
    unit: Unit,
) -> Curve:
    """Return a line of a picture: what *measure* finds at each number of tokens."""
    begin(f"{line}, {fact}")
    found = [measured(lambda size=size: measure(size), 1.0) for size in sizes]
    return Curve(family, line, fact, unit, list(sizes), found)


def seconds(step: Callable[[], object], *, rounds: int = 5, calls: int = 1) -> float:
    """Return the median seconds that *step* takes."""
    return measured(lambda: take_turns([step], rounds=rounds, calls=calls).medians[0], 1.0)


def python(code: str) -> list[str]:
    """Return the command that runs *code*."""
    return [sys.executable, "-c", code]


def _run(command: list[str]) -> None:
    """Run a command with compiled modules kept, as any installation has them.

    The warm-up compiles them.
    """
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    subprocess.run(command, check=True, capture_output=True, env=environment)
