"""What ``--budget`` gives every variant alike: steps, seconds of training, or parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, get_args

import attrs

Kind = Literal["steps", "seconds", "parameters"]

_TRIES = 24
"""Widths that are looked at to find the first that is too wide; each is half as wide again."""

_AROUND = 4
"""Widths on either side of the nearest that are looked at: between them some may be no widths of
the variant."""


@attrs.frozen
class Budget:
    """How much of one thing each variant gets."""

    kind: Kind
    amount: float

    def __str__(self) -> str:
        return f"{self.kind}={self.amount:g}" if self.amount < 1e6 else self._whole()  # noqa: PLR2004  from there on g writes exponents

    def _whole(self) -> str:
        return f"{self.kind}={self.amount:.0f}"

    @staticmethod
    def parse(text: str) -> Budget:
        """Return the budget that a text names: ``steps=700``, ``seconds=60``, ``parameters=1e5``.

        Raises:
            ValueError: If it names none.
        """
        kind, _, number = text.partition("=")
        for known in get_args(Kind):
            if kind == known:
                return Budget(known, _amount(known, number))
        raise ValueError(f"{text!r}: write steps=N, seconds=N or parameters=N")


def _amount(kind: Kind, text: str) -> float:
    try:
        amount = float(text.replace("_", ""))
    except ValueError:
        amount = 0.0
    is_whole = amount == int(amount) if abs(amount) < 2**53 else False
    if not 0 < amount < 2**53 or (kind != "seconds" and not is_whole):
        unit = "a number above 0" if kind == "seconds" else "a whole number above 0"
        raise ValueError(f"{kind}={text}: expected {unit}")
    return amount


def steps_in(seconds: float, seconds_per_step: float) -> int:
    """Return the steps that fit into some seconds: at least one."""
    return max(1, int(seconds / seconds_per_step))


def nearest_width(
    wanted: float, unit: int, count: Callable[[int], int | None]
) -> tuple[int, int] | None:
    """Return the width with which a model has the number of parameters nearest to *wanted*.

    Args:
        wanted: Parameters.
        unit: What widths are multiples of.
        count: Returns the parameters for a width; None for one that the variant cannot have. They
            grow with the width.

    Returns:
        The width and its parameters; None if the variant can have none.
    """
    widths = _Widths(wanted, unit, count)
    low, high = 0, 1
    for _ in range(_TRIES):
        if widths.is_enough(high):
            break
        low, high = high, max(high + 1, high * 3 // 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if widths.is_enough(middle) else (middle, high)
    return widths.nearest(range(max(1, low - _AROUND), high + _AROUND + 1))


class _Widths:
    """Multiples of a unit, and the parameters of each, counted once."""

    def __init__(self, wanted: float, unit: int, count: Callable[[int], int | None]) -> None:
        self._wanted, self._unit, self._count = wanted, unit, count
        self._counted: dict[int, int | None] = {}

    def _parameters(self, multiple: int) -> int | None:
        if multiple not in self._counted:
            self._counted[multiple] = self._count(multiple * self._unit)
        return self._counted[multiple]

    def is_enough(self, multiple: int) -> bool:
        """Return whether the first width from here on that there is has what is wanted."""
        for near in range(multiple, multiple + _AROUND):
            found = self._parameters(near)
            if found is not None:
                return found >= self._wanted
        return False

    def nearest(self, multiples: Iterable[int]) -> tuple[int, int] | None:
        """Return the width, and its parameters, that comes nearest; None if there is none."""
        sound: list[tuple[float, int, int]] = []
        for multiple in multiples:
            found = self._parameters(multiple)
            if found is not None:
                sound.append((abs(found - self._wanted), multiple, found))
        if not sound:
            return None
        _, multiple, found = min(sound)
        return multiple * self._unit, found
