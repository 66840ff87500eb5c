"""What plain data may hold, and the bounds that keep it small."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from noether_core.errors import ConfigError, Problem, shown
from noether_core.schemas.frozen_mapping import MOST_DIGITS, is_writable
from noether_core.structuring.documents.document import LARGEST_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable

DEEPEST: Final = 64
"""Mappings and lists that may stand inside each other."""

MOST_PROBLEMS: Final = 100
"""Problems after which the rest of a document is not looked at."""

TOO_DEEP: Final = f"mappings and lists stand more than {DEEPEST} deep in each other"
TOO_LONG: Final = f"a whole number of more than {MOST_DIGITS} digits"

_HALF: Final = "half of a character (a lone surrogate)"


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


def problems_in(data: Any, limits: Limits = _NO_LIMITS) -> list[Problem]:
    """Return what keeps *data* from being plain, within bounds and writable within *limits*."""
    check = _Check(limits)
    try:
        check.value(data, (), 0)
    except ConfigError as error:
        check.problems.extend(error.problems)
    return check.problems


class _Check:
    """One walk over data, which ends early where there is no end."""

    def __init__(self, limits: Limits) -> None:
        self.problems: list[Problem] = []
        self._limits = limits
        self._count = 0

    def value(self, value: Any, keys: tuple[str | int, ...], depth: int) -> None:
        kind = type(value)
        if kind is dict:
            self._items(
                [(key, item) for key, item in value.items() if self._is_key(key, keys)],
                keys,
                depth + 1,
            )
        elif kind is list or kind is tuple:
            self._items(enumerate(value), keys, depth + 1)
        elif refused := self._refused(value):
            found = None if kind is Refused else value
            self._add(
                Problem(
                    message=refused.message, keys=keys, value=found, suggestion=refused.suggestion
                )
            )

    def _is_key(self, key: object, keys: tuple[str | int, ...]) -> bool:
        """Return whether *key* can be one, or tell why not: at its mapping, since no path can name
        it.
        """
        if type(key) is not str:
            self._add(
                Problem(message=f"expected text for a key, got {shown(key)}", keys=keys, value=key)
            )
            return False
        if has_surrogate(key):
            self._add(Problem(message=f"the key {shown(key)} holds {_HALF}", keys=keys, value=key))
            return False
        return True

    def _items(
        self, items: Iterable[tuple[str | int, Any]], keys: tuple[str | int, ...], depth: int
    ) -> None:
        if depth > DEEPEST:
            raise ConfigError([Problem(message=TOO_DEEP, keys=keys)])
        for key, item in items:
            self._count += 1
            if (
                self._count > LARGEST_TEXT
            ):  # each takes a character at least, so no document can hold them
                raise ConfigError([Problem(message=f"more than {LARGEST_TEXT} values")])
            self.value(item, (*keys, key), depth)

    def _refused(self, value: Any) -> Refused | None:
        """Return why a scalar is refused."""
        kind = type(value)
        if kind is bool:
            return None
        if value is None:
            return Refused(self._limits.no_null) if self._limits.no_null else None
        if kind is str:
            return Refused(f"{shown(value)} holds {_HALF}") if has_surrogate(value) else None
        if kind is int:
            return None if is_writable(value) else Refused(TOO_LONG)
        if kind is float:
            return (
                Refused(self._limits.no_infinity)
                if self._limits.no_infinity and not math.isfinite(value)
                else None
            )
        return value if isinstance(value, Refused) else _foreign(value)

    def _add(self, problem: Problem) -> None:
        self.problems.append(problem)
        if len(self.problems) >= MOST_PROBLEMS:
            raise ConfigError([])


def _foreign(value: Any) -> Refused:
    if hasattr(value, "isoformat"):
        return Refused(
            f"dates and times are not options, got {value}", f'quote it: "{value.isoformat()}"'
        )
    return Refused(f"expected plain data, got {shown(value)} of type {type(value).__name__}")


def has_surrogate(text: str) -> bool:
    """Return whether *text* holds half of a character, which UTF-8 cannot write."""
    return not text.isascii() and re.search("[\ud800-\udfff]", text) is not None
