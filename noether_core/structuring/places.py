"""Paths to configs that lie within larger documents: ``model.blocks[*].attention``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from noether_core.errors import Problem, path_text
from noether_core.spelling import did_you_mean

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
