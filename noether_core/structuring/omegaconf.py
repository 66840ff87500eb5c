"""Configs of OmegaConf and Hydra as plain data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import attrs

from noether_core.errors import ConfigError, Problem
from noether_core.structuring.documents.limits import DEEPEST, TOO_DEEP

MOST_CONTAINERS: Final = 10_000
"""Mappings and lists that interpolations may spread a config over; OmegaConf takes about a
millisecond for each.
"""

_T = TypeVar("_T")

_MISSING = "???"


class Unresolved:
    """Stands in data for a value that a config of OmegaConf does not give; messages quote it as the
    config has it.
    """

    __slots__ = ("_text", "reason")

    def __init__(self, text: str, reason: str) -> None:
        self._text = text
        self.reason = reason
        """Why there is no value."""

    def __repr__(self) -> str:
        return self._text


def resolved(source: Any) -> Any:
    """Return *source* with OmegaConf's containers, wherever dicts and lists hold them, as dicts and
    lists.

    Interpolations are resolved. What has no value is `Unresolved`, which no option accepts.

    Raises:
        ConfigError: If interpolations make it endless, or larger than `MOST_CONTAINERS`.
    """
    return _Resolver().plain(source, ()) if "omegaconf" in sys.modules else source


def from_resolved(source: Any, make: Callable[[Any], _T]) -> _T:
    """Return what *make* makes of *source*, resolved; problems of what has no value say why.

    Raises:
        ConfigError: If *make* does.
    """
    try:
        return make(resolved(source))
    except ConfigError as error:
        raise error.with_problems(map(_explained, error.problems)) from None


def _explained(problem: Problem) -> Problem:
    if not isinstance(problem.value, Unresolved):
        return problem
    reasons = [problem.value.reason, problem.suggestion]
    return attrs.evolve(
        problem, value=repr(problem.value), suggestion="; ".join(filter(None, reasons))
    )


class _Resolver:
    """One walk over data; interpolations can make it larger than what was written, so that it
    counts.
    """

    def __init__(self) -> None:
        from omegaconf import DictConfig, ListConfig
        from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

        self._mapping = DictConfig
        self._containers = (DictConfig, ListConfig)
        self._missing = MissingMandatoryValue
        self._failures = OmegaConfBaseException
        self._count = 0
        self._made: dict[
            int, tuple[Any, Any]
        ] = {}  # by the id of what is kept here, so that no other can take it

    def plain(self, value: Any, keys: tuple[str | int, ...]) -> Any:
        """Return *value*, which stands under *keys*, as plain data."""
        if isinstance(value, self._containers):
            self._refuse_endless(keys)
            made = {key: self.plain(item, (*keys, key)) for key, item in self._items_of(value)}
            return made if isinstance(value, self._mapping) else list(made.values())
        return self._rebuilt(value, keys) if type(value) in (dict, list, tuple) else value

    def _rebuilt(self, value: Any, keys: tuple[str | int, ...]) -> Any:
        """Return a dict or list with plain items: itself where they are plain already, as they are
        within itself.
        """
        if id(value) in self._made:
            return self._made[id(value)][1]
        self._made[id(value)] = value, value
        items = dict(value) if isinstance(value, dict) else dict(enumerate(value))
        made = (
            {key: self.plain(item, (*keys, key)) for key, item in items.items()}
            if len(keys) < DEEPEST
            else items
        )
        if any(made[key] is not item for key, item in items.items()):
            self._made[id(value)] = value, made if isinstance(value, dict) else list(made.values())
        return self._made[id(value)][1]

    def _items_of(self, container: Any) -> Iterator[tuple[Any, Any]]:
        """Yield the keys or positions of a container of OmegaConf, each with its value or an
        `Unresolved` one.
        """
        for key in container if isinstance(container, self._mapping) else range(len(container)):
            try:
                value = container[key]
            except self._missing:
                value = Unresolved(_MISSING, f"{_MISSING} stands for a value that must be given")
            except self._failures as error:
                value = Unresolved(_written(container, key), str(error).partition("\n")[0])
            yield key, value

    def _refuse_endless(self, keys: tuple[str | int, ...]) -> None:
        self._count += 1
        if len(keys) > DEEPEST:
            raise ConfigError(
                [
                    Problem(
                        keys=keys,
                        message=TOO_DEEP,
                        suggestion="look for interpolations in a circle",
                    )
                ]
            )
        if self._count > MOST_CONTAINERS:
            raise ConfigError(
                [
                    Problem(
                        message=f"interpolations make more than {MOST_CONTAINERS} mappings and lists"
                    )
                ]
            )


def _written(container: Any, key: Any) -> str:
    """Return the text of an interpolation that leads nowhere."""
    from omegaconf import OmegaConf

    written: Any = OmegaConf.to_container(container, resolve=False)
    return str(written[key])
