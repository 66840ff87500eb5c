"""Configs of OmegaConf and Hydra as plain data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import attrs

from noether_core.errors import ConfigError, Problem
from noether_core.structuring.documents.limits import DEEPEST, TOO_DEEP

MOST_CONTAINERS: Final = 10_000
"""Mappings and lists that interpolations may spread a config over.

OmegaConf takes about a millisecond for each.
"""

_MISSING = "???"

_Keys = tuple[str | int, ...]
_T = TypeVar("_T")


@attrs.frozen(repr=False)
class Unresolved:
    """Stands in data for a value that a config of OmegaConf does not give."""

    text: str
    """How the config has it, as messages quote it."""

    reason: str
    """Why there is no value."""

    def __repr__(self) -> str:
        return self.text


def resolved(source: Any) -> Any:
    """Return *source* with OmegaConf's containers as dicts and lists, wherever they stand in it.

    Interpolations are resolved. What has no value is `Unresolved`, which no option accepts.

    Raises:
        ConfigError: If interpolations make it endless, or larger than `MOST_CONTAINERS`.
    """
    if "omegaconf" not in sys.modules:  # then nothing in source can be of OmegaConf
        return source
    return _Resolver().resolved(source, ())


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
    suggestion = problem.value.reason
    if problem.suggestion:
        suggestion += f"; {problem.suggestion}"
    return attrs.evolve(problem, value=repr(problem.value), suggestion=suggestion)


class _Resolver:
    """One walk over data, which counts: interpolations can make more than what was written."""

    def __init__(self) -> None:
        from omegaconf import DictConfig, ListConfig
        from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

        self._mapping = DictConfig
        self._containers = (DictConfig, ListConfig)
        self._missing = MissingMandatoryValue
        self._failures = OmegaConfBaseException
        self._count = 0
        # Each dict and list that was met, with its resolved form, by its id. The original is kept
        # so that it stays alive, and no other object takes its id meanwhile.
        self._met: dict[int, tuple[Any, Any]] = {}

    def resolved(self, value: Any, keys: _Keys) -> Any:
        """Return *value*, which stands under *keys*, as plain data."""
        if isinstance(value, self._containers):
            self._refuse_endless(keys)
            items = {key: self.resolved(item, (*keys, key)) for key, item in self._items_of(value)}
            return items if isinstance(value, self._mapping) else list(items.values())
        if type(value) in (dict, list, tuple):
            return self._rebuilt(value, keys)
        return value

    def _rebuilt(self, value: Any, keys: _Keys) -> Any:
        """Return a dict or list with resolved items: itself where nothing in it changes."""
        if id(value) in self._met:
            return self._met[id(value)][1]
        self._met[id(value)] = value, value  # what it is within itself, where it holds itself

        items = dict(value) if isinstance(value, dict) else dict(enumerate(value))
        if len(keys) >= DEEPEST:  # whoever reads it will refuse it
            return value
        made = {key: self.resolved(item, (*keys, key)) for key, item in items.items()}
        if any(made[key] is not item for key, item in items.items()):
            rebuilt = made if isinstance(value, dict) else list(made.values())
            self._met[id(value)] = value, rebuilt
        return self._met[id(value)][1]

    def _items_of(self, container: Any) -> Iterator[tuple[Any, Any]]:
        """Yield keys or positions of a container of OmegaConf, each with its value."""
        is_mapping = isinstance(container, self._mapping)
        for key in container if is_mapping else range(len(container)):
            try:
                value = container[key]
            except self._missing:
                value = Unresolved(_MISSING, f"{_MISSING} stands for a value that must be given")
            except self._failures as error:
                value = Unresolved(_written(container, key), str(error).partition("\n")[0])
            yield key, value

    def _refuse_endless(self, keys: _Keys) -> None:
        self._count += 1
        if len(keys) > DEEPEST:
            way_out = "look for interpolations in a circle"
            raise ConfigError([Problem(keys=keys, message=TOO_DEEP, suggestion=way_out)])
        if self._count > MOST_CONTAINERS:
            message = f"interpolations make more than {MOST_CONTAINERS} mappings and lists"
            raise ConfigError([Problem(message=message)])


def _written(container: Any, key: Any) -> str:
    """Return the text of an interpolation that leads nowhere."""
    from omegaconf import OmegaConf

    written: Any = OmegaConf.to_container(container, resolve=False)
    return str(written[key])
