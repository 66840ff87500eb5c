"""Paths into documents: configs within larger files, and values that go before a file's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import attrs

from noether_core.errors import ConfigError, Problem, path_text
from noether_core.spelling import did_you_mean
from noether_core.structuring.documents import Document, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

Keys: TypeAlias = tuple[str | int, ...]
"""Names and positions that lead to a value."""

_STEP = re.compile(r"(?:^|(?<=.)\.)(?P<name>[^.\[\]]+)|\[(?P<number>\d{1,9}|\*)\]")


class Placed(NamedTuple):
    """A value, and the keys and positions that lead to it."""

    keys: Keys
    value: Any


class Place:
    """A path into documents: names behind dots, positions in brackets, and ``*`` for every name or
    position.

    Args:
        path: Such as ``model.attention``, ``model.blocks[0].attention`` or
            ``model.blocks[*].attention``.

    Raises:
        ValueError: If *path* is none.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._steps = tuple(_steps(path))

    def __repr__(self) -> str:
        return f"Place({self.path!r})"

    @property
    def keys(self) -> Keys:
        """The names and positions of a path that leads to one value.

        Raises:
            ValueError: If it leads to several.
        """
        if None in self._steps:
            raise ValueError(f"{self.path!r} leads to several values; name one of them")
        return tuple(step for step in self._steps if step is not None)

    def find(self, data: Any) -> tuple[list[Placed], list[Problem]]:
        """Return all values of *data* that stands at the place, and a problem for every way there
        that ends before.
        """
        problems: list[Problem] = []
        found = list(_walk(Placed((), data), self._steps, problems))
        if not found and not problems:
            problems.append(Problem(message=f"nothing stands at {self.path}"))
        return found, problems


def _steps(path: str) -> Iterator[str | int | None]:
    """Yield names, positions and, for every one of either, None."""
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            break
        if step["name"] is not None:
            yield None if step["name"] == "*" else step["name"]
        else:
            yield None if step["number"] == "*" else int(step["number"])
        at = step.end()
    if at < len(path) or not path:
        raise ValueError(
            f"{path!r} is no path from character {at + 1} on; write names behind dots and positions in brackets, "
            "such as model.blocks[*].attention"
        )


def _walk(
    placed: Placed, steps: tuple[str | int | None, ...], problems: list[Problem]
) -> Iterator[Placed]:
    """Yield what *steps* lead to; add the problem of each way that ends before."""
    if not steps:
        yield placed
        return
    for part in _parts(placed, steps[0], problems):
        yield from _walk(part, steps[1:], problems)


def _parts(placed: Placed, step: str | int | None, problems: list[Problem]) -> list[Placed]:
    keys, value = placed
    parts = (
        dict(enumerate(value))
        if isinstance(value, list)
        else value
        if isinstance(value, dict)
        else {}
    )
    if step is None and isinstance(value, (list, dict)):
        return [Placed((*keys, key), part) for key, part in parts.items()]
    if step is not None and step in parts:
        return [Placed((*keys, step), parts[step])]
    problems.append(_nothing(placed, step, parts))
    return []


def _nothing(placed: Placed, step: str | int | None, parts: dict[Any, Any]) -> Problem:
    """Return the problem that a value has no part *step*."""
    here = path_text(placed.keys) or "the document"
    kind = f"a list of {len(parts)}" if isinstance(placed.value, list) else "no list"
    if step is None:
        subject = "" if placed.keys else "the document "
        return Problem(
            keys=placed.keys,
            message=f"{subject}holds neither names nor positions",
            value=placed.value,
        )
    if isinstance(step, int):
        return Problem(keys=(*placed.keys, step), message=f"nothing stands here; {here} is {kind}")
    return Problem(
        keys=(*placed.keys, step),
        message="nothing stands here",
        suggestion=did_you_mean(step, map(str, parts)),
    )


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
