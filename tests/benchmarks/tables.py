"""Results as tables, for the terminal and for a page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tests.benchmarks.results import (
    Beside,
    Bound,
    Claim,
    Curve,
    Growth,
    Result,
    Unit,
    quartiles,
)

_STEPS = {
    "seconds": ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")),
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")),
}


class Table(NamedTuple):
    """Rows under a head, each as long as it."""

    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(results: Sequence[Result]) -> Iterator[Table]:
    """Yield a table for each kind of result that there is."""
    makers = (_of_ratios, _of_exponents, _of_bounds, _of_others, _of_curves)
    yield from (table for make in makers if (table := make(results)).rows)


def lines(results: Sequence[Result]) -> Iterator[str]:
    """Yield the tables as lines of a terminal."""
    for table in tables(results):
        widths = [max(map(len, column)) for column in zip(table.head, *table.rows, strict=True)]
        for row in (table.head, *table.rows):
            first, *others = (
                cell.ljust(width) if not at else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            yield "  ".join((first, *others)).rstrip()
        yield ""


def markdown(results: Sequence[Result]) -> Iterator[str]:
    """Yield the tables as lines of a page."""
    for table in tables(results):
        yield f"| {' | '.join(table.head)} |"
        yield f"|---{'|--:' * (len(table.head) - 1)}|"
        yield from (f"| {' | '.join(row)} |" for row in table.rows)
        yield ""


def amount(value: float, unit: Unit) -> str:
    """Return *value* with three digits, in the unit in which it reads best."""
    factor, name = next((step for step in _STEPS[unit] if abs(value) >= step[0]), _STEPS[unit][-1])
    return f"{_digits(value / factor)} {name}"


def _digits(value: float) -> str:
    whole = len(str(int(abs(value))))
    return f"{value:,.{max(0, 3 - whole)}f}"


def _of_ratios(results: Sequence[Result]) -> Table:
    head = ("ours / reference", "median", "quartiles", "budget", "ours", "reference")
    claims = [result for result in results if isinstance(result, Claim)]
    return Table(
        head,
        [
            (
                claim.name,
                f"{claim.median:.3f}{_verdict(claim)}",
                "{:.3f} to {:.3f}".format(*claim.quartiles),
                f"{claim.budget:.3f}" if math.isfinite(claim.budget) else "",
                *(amount(value, claim.unit) for value in claim.measured),
            )
            for claim in claims
        ],
    )


def _of_exponents(results: Sequence[Result]) -> Table:
    growths = [result for result in results if isinstance(result, Growth)]
    return Table(
        ("exponent", "fitted", "budget", "measured"),
        [
            (
                growth.name,
                f"{growth.exponent:.3f}{_verdict(growth)}",
                f"{growth.budget:.3f}",
                ", ".join(
                    f"{size:,}: {value:.3g}"
                    for size, value in zip(growth.sizes, growth.measured, strict=True)
                ),
            )
            for growth in growths
        ],
    )


def _of_bounds(results: Sequence[Result]) -> Table:
    bounds = [result for result in results if isinstance(result, Bound)]
    return Table(
        ("bound", "measured", "budget", "note"),
        [
            (
                bound.name,
                f"{bound.measured:,.4g}{_verdict(bound)}",
                f"{bound.budget:,.4g}",
                bound.note,
            )
            for bound in bounds
        ],
    )


def _of_others(results: Sequence[Result]) -> Table:
    found = [result for result in results if isinstance(result, Beside)]
    others = list(dict.fromkeys(name for beside in found for name in beside.others))
    head = ("variant", "what", "tokens", "ours", *(f"{name}, and ours / it" for name in others))
    return Table(
        head,
        [
            (
                beside.variant,
                beside.fact,
                f"{beside.tokens:,}",
                amount(beside.measured, beside.unit),
                *(_other(beside, name) for name in others),
            )
            for beside in found
        ],
    )


def _other(beside: Beside, name: str) -> str:
    if name not in beside.others:
        return "not installed"
    cost, ratios = beside.others[name]
    low, high = quartiles(ratios)
    return f"{amount(cost, beside.unit)} ({low:.2f} to {high:.2f})"


def _of_curves(results: Sequence[Result]) -> Table:
    curves = _distinct(result for result in results if isinstance(result, Curve))
    return Table(
        ("over tokens", "fitted exponent", "from", "to"),
        [
            (
                curve.name,
                f"{curve.exponent:.2f}",
                *(
                    f"{curve.sizes[at]:,}: {amount(curve.measured[at], curve.unit)}"
                    for at in (0, -1)
                ),
            )
            for curve in curves
        ],
    )


def _distinct(curves: Iterable[Curve]) -> Iterable[Curve]:
    """Return each line once, of which several pictures may show one.

    Straightforward forms are named with the family that they are of.
    """
    named = (
        curve._replace(line=f"straightforward {curve.family}")
        if curve.line == "straightforward"
        else curve
        for curve in curves
    )
    return {curve.name: curve for curve in named}.values()


def _verdict(result: Result) -> str:
    return "" if result.is_kept else " over budget"
