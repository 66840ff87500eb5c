"""What plain data may hold, and the bounds that keep it small."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from noether_core.errors import MOST_PROBLEMS, Problem, shown
from noether_core.schemas.frozen_mapping import MOST_DIGITS, is_writable
from noether_core.structuring.documents.document import MOST_VALUES

DEEPEST: Final = 64
"""Mappings and lists that may stand inside each other."""

TOO_DEEP: Final = f"mappings and lists stand more than {DEEPEST} deep in each other"
TOO_MANY: Final = f"more than {MOST_VALUES} values"
TOO_LONG: Final = f"a whole number of more than {MOST_DIGITS} digits"

_HALF: Final = "half of a character (a lone surrogate)"

_Keys = tuple[str | int, ...]


class Refused:
    """Stands in data for a value that its format can write and that plain data does not hold."""

    __slots__ = ("message", "suggestion")

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        self.message = message
        self.suggestion = suggestion


class Limits(NamedTuple):
    """Why a format cannot write some values; None where it can."""

    no_null: str | None = None
    no_infinity: str | None = None


_NO_LIMITS: Final = Limits()


def whole_number(digits: str, base: int = 10) -> int | Refused:
    """Return the whole number that *digits* write, unless they are too many."""
    if len(digits) <= MOST_DIGITS + len("-"):
        try:
            number = int(digits, base)
        except ValueError:  # the interpreter was started with a lower limit of its own
            return Refused(TOO_LONG)
        if is_writable(number):
            return number
    return Refused(TOO_LONG)


def depth_of(data: Any) -> int:
    """Return how many mappings and lists stand in each other."""
    if isinstance(data, dict):
        return 1 + max(map(depth_of, data.values()), default=0)
    if isinstance(data, list):
        return 1 + max(map(depth_of, data), default=0)
    return 0


def problems_in(data: Any, limits: Limits = _NO_LIMITS) -> list[Problem]:
    """Return what keeps *data* from being plain, within bounds and writable within *limits*."""
    check = _Check(limits)
    with suppress(_StopLookingError):
        check.value(data, (), 0)
    return check.problems


class _StopLookingError(Exception):
    """There are too many problems, or there is no end to the data."""


class _Check:
    """One walk over data, which ends early where there is no end."""

    def __init__(self, limits: Limits) -> None:
        self.problems: list[Problem] = []
        self._limits = limits
        self._count = 0

    def value(self, value: Any, keys: _Keys, depth: int) -> None:
        kind = type(value)
        if kind is dict:
            # without a name that a path can hold, what stands under a key cannot be reported
            named = [(key, item) for key, item in value.items() if self._is_key(key, keys)]
            self._items(named, keys, depth + 1)
        elif kind is list or kind is tuple:
            self._items(enumerate(value), keys, depth + 1)
        elif refused := self._refused(value):
            self._add(
                Problem(
                    message=refused.message,
                    keys=keys,
                    value=None if kind is Refused else value,
                    suggestion=refused.suggestion,
                )
            )

    def _is_key(self, key: object, keys: _Keys) -> bool:
        """Return whether *key* can be one; if not, that is a problem of its mapping."""
        if type(key) is not str:
            message = f"expected text for a key, got {shown(key)}"
        elif has_surrogate(key):
            message = f"the key {shown(key)} holds {_HALF}"
        else:
            return True
        self._add(Problem(message=message, keys=keys, value=key))
        return False

    def _items(self, items: Iterable[tuple[str | int, Any]], keys: _Keys, depth: int) -> None:
        if depth > DEEPEST:
            self._stop(Problem(message=TOO_DEEP, keys=keys))
        for key, item in items:
            self._count += 1
            if self._count >= MOST_VALUES:  # the mapping or list at the top is one too
                self._stop(Problem(message=TOO_MANY))
            self.value(item, (*keys, key), depth)

    def _refused(self, value: Any) -> Refused | None:
        """Return why a scalar is refused."""
        kind = type(value)
        if kind is bool:
            return None
        if value is None:
            return _refused_if(self._limits.no_null)
        if kind is str:
            return _refused_if(f"{shown(value)} holds {_HALF}" if has_surrogate(value) else None)
        if kind is int:
            return None if is_writable(value) else Refused(TOO_LONG)
        if kind is float:
            return None if math.isfinite(value) else _refused_if(self._limits.no_infinity)
        return value if isinstance(value, Refused) else _foreign(value)

    def _add(self, problem: Problem) -> None:
        self.problems.append(problem)
        if len(self.problems) > MOST_PROBLEMS:
            raise _StopLookingError

    def _stop(self, problem: Problem) -> None:
        self.problems.append(problem)
        raise _StopLookingError


def _refused_if(reason: str | None) -> Refused | None:
    return None if reason is None else Refused(reason)


def _foreign(value: Any) -> Refused:
    if hasattr(value, "isoformat"):
        return Refused(
            f"dates and times are not options, got {value}", f'quote it: "{value.isoformat()}"'
        )
    return Refused(f"expected plain data, got {shown(value)} of type {type(value).__name__}")


def has_surrogate(text: str) -> bool:
    """Return whether *text* holds half of a character, which UTF-8 cannot write."""
    return not text.isascii() and re.search("[\ud800-\udfff]", text) is not None
