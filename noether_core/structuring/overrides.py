"""Values that replace those of a document: ``attention.num_slices=64``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from noether_core.errors import ConfigError, Problem
from noether_core.structuring.documents import Document, parse
from noether_core.structuring.places import Keys, Place

COMMAND_LINE = "command line"
"""What stands for the file in problems of overrides."""


@attrs.frozen(eq=False)
class Overridden:
    """A document some of whose values were replaced; problems of those are placed at the command
    line.
    """

    data: Any

    _document: Document
    _replaced: tuple[Keys, ...]

    def locate(self, problem: Problem) -> Problem:
        """Return *problem* with its place: in the document, or the command line for what was
        replaced.
        """
        if any(problem.keys[: len(keys)] == keys for keys in self._replaced):
            return attrs.evolve(problem, file=COMMAND_LINE)
        return self._document.locate(problem)


def override(document: Document, assignments: Sequence[str]) -> Overridden:
    """Return *document* with some of its values replaced.

    Args:
        document: The document. Its data is changed in place.
        assignments: Each ``path=value``, the value written as in YAML: ``model.depth=6``,
            ``branches=[a, b]``. Mappings on the way that are not there are made; a later assignment
            goes before an earlier one.

    Raises:
        ConfigError: If an assignment is none, or leads through what is no mapping or list; every
            such one is told.
    """
    problems: list[Problem] = []
    replaced: list[Keys] = []
    data = document.data
    for assignment in assignments:
        try:
            keys, value = _read(assignment)
            data = _with(data, keys, value)
            replaced.append(keys)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return Overridden(data, document, tuple(replaced))


def _read(assignment: str) -> tuple[Keys, Any]:
    """Return the keys that an assignment leads to, and its value."""
    path, equals, text = assignment.partition("=")
    if not equals:
        raise _refused(f"expected PATH=VALUE, got {assignment!r}", "such as model.depth=6")
    try:
        keys = Place(path).keys
    except ValueError as error:
        raise _refused(str(error)) from None
    try:
        return keys, parse(text, "yaml", file=COMMAND_LINE).data if text.strip() else None
    except ConfigError as error:
        raise error.with_problems(problem.within(*keys) for problem in error.problems) from None


def _with(data: Any, keys: Keys, value: Any) -> Any:
    """Return *data* with *value* under *keys*; changed in place where it is a mapping or list."""
    if not keys:
        return value
    key = keys[0]
    if isinstance(key, int):
        if not isinstance(data, list) or key >= len(data):
            raise _refused("there is no such position to override", keys=(key,))
    elif data is None:
        data = {}
    elif not isinstance(data, dict):
        raise _refused("leads through what is no mapping", keys=(key,))
    holder: Any = data
    try:
        holder[key] = _with(
            holder[key] if isinstance(key, int) else holder.get(key), keys[1:], value
        )
    except ConfigError as error:
        raise error.with_problems(problem.within(key) for problem in error.problems) from None
    return holder


def _refused(message: str, suggestion: str | None = None, keys: Keys = ()) -> ConfigError:
    return ConfigError(
        [Problem(message=message, suggestion=suggestion, keys=keys, file=COMMAND_LINE)]
    )
