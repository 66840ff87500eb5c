"""Plain data that cannot change: hashable mappings and tuples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from noether_core.errors import ConfigError, Problem, shown

MOST_DIGITS: Final = 4300
"""Digits that a whole number may have: Python refuses to write more, since that takes too long."""

_TOO_LARGE: Final = 10**MOST_DIGITS

_TIMES: Final = frozenset("mM")
"""Kinds of numpy's dtypes that are spans and points of time."""

_LIBRARIES: Final = frozenset({"numpy", "torch"})
"""Libraries with scalars of their own."""


def is_writable(number: int) -> bool:
    """Return whether *number* has no more than `MOST_DIGITS` digits."""
    return -_TOO_LARGE < number < _TOO_LARGE


class FrozenMapping(Mapping[str, Any]):
    """A mapping from names to plain data that is hashable, picklable and never changes.

    Args:
        items: Names and values. Lists become tuples and mappings frozen mappings, all the way down.

    Raises:
        ConfigError: If a key is no text, or a value no plain data (text, finite number, boolean,
            None, list, mapping).
    """

    __slots__ = ("_data", "_hash")

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        self._data: dict[str, Any] = _frozen_items(items or {})
        self._hash: int | None = None

    @classmethod
    def of_frozen(cls, items: dict[str, Any]) -> FrozenMapping:
        """Return the mapping of values that cannot change, taken as they are.

        Such values are configs and members of enums as well as frozen plain data.
        """
        mapping = cls()
        mapping._data = items
        return mapping

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __hash__(self) -> int:
        if self._hash is None:  # kept: configs are keys of caches
            self._hash = hash(frozenset(self._data.items()))
        return self._hash

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FrozenMapping):
            return self._data == other._data
        return NotImplemented

    def __reduce__(self) -> tuple[type[FrozenMapping], tuple[()], dict[str, Any]]:
        # A class and data alone: torch.load(weights_only=True) calls nothing else.
        return FrozenMapping, (), self._data

    def __setstate__(self, items: dict[str, Any]) -> None:
        self._data = items

    def __repr__(self) -> str:
        return f"FrozenMapping({self._data!r})"


def python_scalar(value: Any) -> Any:
    """Return a scalar of numpy or torch as the Python value that it is, anything else as it is.

    Sweeps produce them.
    """
    package = type(value).__module__.partition(".")[0]
    if package not in _LIBRARIES or getattr(value, "shape", None) != ():
        return value
    # A masked number is zero in disguise, and a span of time a number of whatever unit it has.
    if hasattr(value, "mask") or getattr(value.dtype, "kind", None) in _TIMES:
        return value
    try:
        return value.item()
    except Exception:  # noqa: BLE001  a tensor without data has none
        return value


def freeze(value: Any) -> Any:
    """Return plain data in its frozen form.

    Raises:
        ConfigError: If *value* holds anything but text, finite numbers, booleans, None, lists and
            mappings.
    """
    value = python_scalar(value)
    if _is_plain_scalar(value) or isinstance(value, FrozenMapping):
        return value
    if isinstance(value, Mapping):
        return FrozenMapping(value)
    if isinstance(value, (list, tuple)):
        return _frozen_list(value)
    expected = "plain data (text, finite number, boolean, None, list or mapping)"
    raise ConfigError([Problem(message=f"expected {expected}, got {shown(value)}", value=value)])


def _is_plain_scalar(value: Any) -> bool:
    kind = type(value)  # a subclass may do what it likes when it is compared or hashed
    if kind is int:
        return is_writable(value)
    if kind is float:
        return math.isfinite(value)
    return value is None or kind in (bool, str)


def _frozen_list(values: list[Any] | tuple[Any, ...]) -> tuple[Any, ...]:
    problems: list[Problem] = []
    frozen = tuple(_freeze_at(key, value, problems) for key, value in enumerate(values))
    if problems:
        raise ConfigError(problems)
    return frozen


def _frozen_items(items: Mapping[str, Any]) -> dict[str, Any]:
    problems = [
        Problem(message=f"expected text as the name of an option, got {shown(key)}", value=key)
        for key in items
        if type(key) is not str
    ]
    frozen = {key: _freeze_at(key, value, problems) for key, value in items.items()}
    if problems:
        raise ConfigError(problems)
    return frozen


def _freeze_at(key: str | int, value: Any, problems: list[Problem]) -> Any:
    try:
        return freeze(value)
    except ConfigError as error:
        problems.extend(problem.within(key) for problem in error.problems)
        return None


EMPTY = FrozenMapping()
"""The mapping of nothing."""
