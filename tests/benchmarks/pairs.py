"""Two things timed in turn, A B A B, so that their ratio holds while the machine's speed drifts."""

from __future__ import annotations

import gc
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Growth(NamedTuple):
    """An exponent that the project promises: how what was measured grows with a number of things."""

    name: str
    budget: float
    sizes: list[int]
    measured: list[float]

    @property
    def exponent(self) -> float:
        """The slope of a line through the logarithms."""
        slope, _ = statistics.linear_regression(
            *(list(map(math.log, values)) for values in (self.sizes, self.measured))
        )
        return slope

    @property
    def is_kept(self) -> bool:
        return self.exponent <= self.budget

    def as_dict(self) -> dict[str, object]:
        return {**self._asdict(), "exponent": self.exponent, "kept": self.is_kept}


class Claim(NamedTuple):
    """A ratio that the project promises, and what was measured."""

    name: str
    budget: float
    ratios: list[float]
    seconds: tuple[float, float]

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def is_kept(self) -> bool:
        return self.median <= self.budget

    def as_dict(self) -> dict[str, object]:
        return {
            "name": self.name,
            "budget": self.budget,
            "ratio": self.median,
            "quartiles": self.quartiles,
            "seconds": self.seconds[0],
            "seconds_of_reference": self.seconds[1],
            "rounds": len(self.ratios),
            "kept": self.is_kept,
        }

    @property
    def quartiles(self) -> tuple[float, float]:
        if len(self.ratios) == 1:
            return self.ratios[0], self.ratios[0]
        first, _, third = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return first, third


class Bound(NamedTuple):
    """A number that the project promises not to exceed."""

    name: str
    budget: float
    measured: float
    note: str

    @property
    def is_kept(self) -> bool:
        return self.measured <= self.budget

    def as_dict(self) -> dict[str, object]:
        return {**self._asdict(), "kept": self.is_kept}


def compare(
    name: str,
    budget: float,
    ours: Callable[[], object],
    reference: Callable[[], object],
    *,
    rounds: int,
    calls: int = 1,
) -> Claim:
    """Time *ours* against *reference*; after one warm-up each, *rounds* times *calls* of either in turn."""
    ours(), reference()
    pairs = [_pair(ours, reference, calls) for _ in range(rounds)]
    ours_seconds, reference_seconds = (statistics.median(column) / calls for column in zip(*pairs, strict=True))
    return Claim(name, budget, [mine / other for mine, other in pairs], (ours_seconds, reference_seconds))


def compare_commands(name: str, budget: float, ours: list[str], reference: list[str], *, rounds: int) -> Claim:
    """Time two commands as whole processes."""
    return compare(name, budget, lambda: _run(ours), lambda: _run(reference), rounds=rounds)


def python(code: str) -> list[str]:
    """Return the command that runs *code*."""
    return [sys.executable, "-c", code]


def _pair(ours: Callable[[], object], reference: Callable[[], object], calls: int) -> tuple[float, float]:
    gc.collect()
    return _seconds(ours, calls), _seconds(reference, calls)


def _seconds(function: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return time.perf_counter() - start


def _run(command: list[str]) -> None:
    """Run a command with compiled modules kept, as any installation has them; the warm-up compiles them."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, capture_output=True, env=environment)


def lines(claims: list[Claim | Growth | Bound]) -> Iterator[str]:
    """Yield a table of ratios, one of exponents and one of bounds, a line each."""
    yield from _ratio_lines([claim for claim in claims if isinstance(claim, Claim)])
    yield from _exponent_lines([claim for claim in claims if isinstance(claim, Growth)])
    yield from _bound_lines([claim for claim in claims if isinstance(claim, Bound)])


def _bound_lines(claims: list[Bound]) -> Iterator[str]:
    if not claims:
        return
    width = max(len(claim.name) for claim in claims)
    yield f"{'bound':<{width}}  {'measured':>8}  {'budget':>7}  of"
    for claim in claims:
        verdict = "" if claim.is_kept else "  over budget"
        yield f"{claim.name:<{width}}  {claim.measured:>8.4g}  {claim.budget:>7.4g}  {claim.note}{verdict}".rstrip()


def _exponent_lines(claims: list[Growth]) -> Iterator[str]:
    if not claims:
        return
    width = max(len(claim.name) for claim in claims)
    yield f"{'exponent':<{width}}  {'fitted':>7}  {'budget':>7}  measured"
    for claim in claims:
        points = ", ".join(f"{size:,}: {value:.3g}" for size, value in zip(claim.sizes, claim.measured, strict=True))
        verdict = "" if claim.is_kept else "  over budget"
        yield f"{claim.name:<{width}}  {claim.exponent:>7.3f}  {claim.budget:>7.3f}  {points}{verdict}"


def _ratio_lines(claims: list[Claim]) -> Iterator[str]:
    if not claims:
        return
    width = max(len(claim.name) for claim in claims)
    yield f"{'ratio':<{width}}  {'median':>7}  {'quartiles':>15}  {'budget':>7}  {'ours':>10}  {'reference':>10}"
    for claim in claims:
        low, high = claim.quartiles
        mine, other = (f"{1e3 * seconds:.4g} ms" for seconds in claim.seconds)
        verdict = "" if claim.is_kept else "  over budget"
        yield (
            f"{claim.name:<{width}}  {claim.median:>7.3f}  {low:>7.3f}-{high:<7.3f}  {claim.budget:>7.3f}"
            f"  {mine:>10}  {other:>10}{verdict}"
        )
