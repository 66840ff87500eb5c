"""What a measurement can be: a ratio, an exponent, a bound, a line of a picture, or an error."""

from __future__ import annotations

import math
import statistics
from typing import Literal, NamedTuple

Unit = Literal["seconds", "bytes"]


class Claim(NamedTuple):
    """A ratio that the project promises, and what was measured."""

    name: str
    budget: float
    """What the median must not exceed; infinite for a ratio that is shown and not promised."""

    ratios: list[float]
    """Ours over the reference, one for every round that counts."""

    measured: tuple[float, float]
    """The medians of ours and of the reference."""

    unit: Unit = "seconds"

    dropped: int = 0
    """Rounds that do not count, since the machine was busy with something else."""

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def quartiles(self) -> tuple[float, float]:
        return quartiles(self.ratios)

    @property
    def is_kept(self) -> bool:
        return self.median <= self.budget

    def as_dict(self) -> dict[str, object]:
        return {
            "kind": "ratio",
            "name": self.name,
            "budget": finite(self.budget),
            "ratio": self.median,
            "quartiles": self.quartiles,
            "unit": self.unit,
            "ours": self.measured[0],
            "reference": self.measured[1],
            "rounds": len(self.ratios),
            "dropped": self.dropped,
            "kept": self.is_kept,
        }


class Growth(NamedTuple):
    """An exponent that the project promises: how a measurement grows with a number of things."""

    name: str
    budget: float
    sizes: list[int]
    measured: list[float]

    @property
    def exponent(self) -> float:
        return slope(self.sizes, self.measured)

    @property
    def is_kept(self) -> bool:
        return self.exponent <= self.budget

    def as_dict(self) -> dict[str, object]:
        return {
            "kind": "exponent",
            **self._asdict(),
            "exponent": self.exponent,
            "kept": self.is_kept,
        }


class Bound(NamedTuple):
    """A number that the project promises not to exceed."""

    name: str
    budget: float
    measured: float
    note: str = ""

    @property
    def is_kept(self) -> bool:
        return self.measured <= self.budget

    def as_dict(self) -> dict[str, object]:
        return {
            "kind": "bound",
            **self._asdict(),
            "budget": finite(self.budget),
            "kept": self.is_kept,
        }


class Curve(NamedTuple):
    """A line of a picture: what one module costs over the number of tokens. It promises nothing."""

    family: str
    """The picture: variants that are drawn together."""

    line: str
    """The variant, or what it is compared with."""

    fact: str
    """What was measured, such as ``forward`` or ``forward and backward``."""

    unit: Unit
    sizes: list[int]
    """Numbers of tokens."""

    measured: list[float]

    @property
    def name(self) -> str:
        return f"{self.line}, {self.fact}"

    @property
    def exponent(self) -> float:
        """The slope of a line through the logarithms."""
        return slope(self.sizes, self.measured)

    @property
    def is_kept(self) -> bool:
        return True

    def as_dict(self) -> dict[str, object]:
        return {"kind": "curve", **self._asdict(), "exponent": self.exponent}


class Beside(NamedTuple):
    """What a variant costs, and what others cost on the same sizes. It promises nothing."""

    variant: str
    fact: str
    tokens: int
    unit: Unit
    measured: float

    others: dict[str, tuple[float, list[float]]]
    """What each other costs, and the ratios of ours to it, one for every round; without those that
    are not at hand.
    """

    @property
    def name(self) -> str:
        return f"{self.variant}, {self.fact}, {self.tokens:,} tokens"

    @property
    def is_kept(self) -> bool:
        return True

    def as_dict(self) -> dict[str, object]:
        others = {
            name: {"cost": cost, "ratios": ratios} for name, (cost, ratios) in self.others.items()
        }
        return {"kind": "beside", **self._asdict(), "others": others}


Result = Claim | Growth | Bound | Curve | Beside


def slope(sizes: list[int], measured: list[float]) -> float:
    """Return the power of *sizes* that fits *measured* best: a line through the logarithms."""
    if len(set(sizes)) < 2:
        return math.nan
    logarithms = (list(map(math.log, values)) for values in (sizes, measured))
    return statistics.linear_regression(*logarithms).slope


def quartiles(values: list[float]) -> tuple[float, float]:
    """Return the first and the third quartile."""
    if len(values) == 1:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def finite(number: float) -> float | None:
    """Return *number* as JSON can hold it: None for what is infinite."""
    return number if math.isfinite(number) else None
