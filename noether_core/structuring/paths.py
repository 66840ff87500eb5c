"""Paths into documents: configs within larger files, and values that go before a file's."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import attrs

from noether_core.errors import MOST_PROBLEMS, ConfigError, Problem, path_text
from noether_core.schemas.open_config import OpenConfig, is_open
from noether_core.schemas.schema import Schema, plan_of
from noether_core.spelling import did_you_mean
from noether_core.structuring.documents import Document, parse
from noether_core.structuring.documents.limits import DEEPEST, TOO_DEEP, depth_of

if TYPE_CHECKING:
    from noether_core.plugins.registry import Registry

Keys: TypeAlias = tuple[str | int, ...]
"""Names and positions that lead to one value."""

COMMAND_LINE = "command line"
"""What stands for the file in problems of overrides."""

MOST_LOOKED_AT: Final = 1000
"""Values of a document among which configs are looked for, to say where they are."""

_STEP = re.compile(r"(?:^|(?<=.)\.)(?P<name>[^.\[\]]+)|\[(?P<number>\d{1,9}|\*)\]")

_Step = str | int | None  # a name, a position, or None for every one of either


class Found(NamedTuple):
    """A value, and the names and positions that lead to it."""

    keys: Keys
    value: Any


class DocumentPath:
    """A path into documents: names behind dots, positions in brackets, ``*`` for every one.

    Args:
        text: Such as ``model.attention``, ``model.blocks[0].attention`` or
            ``model.blocks[*].attention``.

    Raises:
        ValueError: If *text* is no path.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._steps = tuple(_steps(text))

    def __repr__(self) -> str:
        return f"DocumentPath({self.text!r})"

    @property
    def keys(self) -> Keys:
        """The names and positions of a path that leads to one value.

        Raises:
            ValueError: If it leads to several.
        """
        if None in self._steps:
            raise ValueError(f"{self.text!r} leads to several values; name one of them")
        return tuple(step for step in self._steps if step is not None)

    def find(self, data: Any) -> tuple[list[Found], list[Problem]]:
        """Return every value in *data* that the path leads to, and a problem for each dead end."""
        problems: list[Problem] = []
        found = [Found((), data)]
        for step in self._steps:
            found = [item for holder in found for item in _items_at(holder, step, problems)]
        if not found and not problems:
            problems.append(Problem(message=f"nothing stands at {self.text}"))
        return found, problems


def _steps(text: str) -> Iterator[_Step]:
    start = 0
    while start < len(text):
        step = _STEP.match(text, start)
        if step is None:
            break
        if step["name"] is not None:
            yield None if step["name"] == "*" else step["name"]
        else:
            yield None if step["number"] == "*" else int(step["number"])
        start = step.end()
    if start < len(text) or not text:
        raise ValueError(
            f"{text!r} is no path from character {start + 1} on; write names behind dots and "
            "positions in brackets, such as model.blocks[*].attention"
        )


def _items_at(holder: Found, step: _Step, problems: list[Problem]) -> list[Found]:
    """Return what a value holds at *step*; add a problem where it holds nothing there."""
    items: dict[Any, Any] = {}
    if isinstance(holder.value, list):
        items = dict(enumerate(holder.value))
    elif isinstance(holder.value, dict):
        items = holder.value

    if step is None and isinstance(holder.value, (list, dict)):
        return [Found((*holder.keys, key), item) for key, item in items.items()]
    if step is not None and step in items:
        return [Found((*holder.keys, step), items[step])]
    if len(problems) <= MOST_PROBLEMS:  # no more are reported, and the search for a name takes time
        problems.append(_nothing_at(holder, step, items))
    return []


def _nothing_at(holder: Found, step: _Step, items: dict[Any, Any]) -> Problem:
    """Return the problem that a value holds nothing at *step*."""
    if step is None:
        subject = "" if holder.keys else "the document "
        message = f"{subject}holds neither names nor positions"
        return Problem(keys=holder.keys, message=message, value=holder.value)

    keys = (*holder.keys, step)
    if isinstance(step, str):
        near = did_you_mean(step, map(str, items))
        if isinstance(holder.value, list) and step.isdecimal():
            near = f"write {path_text(holder.keys)}[{step}]"
        return Problem(keys=keys, message="nothing stands here", suggestion=near)
    here = path_text(holder.keys) or "the document"
    kind = f"a list of {len(items)}" if isinstance(holder.value, list) else "no list"
    return Problem(keys=keys, message=f"nothing stands here; {here} is {kind}")


@attrs.frozen(eq=False)
class OverriddenDocument:
    """A document some of whose values were replaced from the command line."""

    data: Any

    _document: Document
    _overridden: tuple[Keys, ...]

    def locate(self, problem: Problem) -> Problem:
        """Return *problem* with its location: in the file, or the command line for overrides."""
        for keys in self._overridden:
            # what stands within an override comes from the command line as well
            if problem.keys[: len(keys)] == keys:
                return attrs.evolve(problem, file=COMMAND_LINE)
        return self._document.locate(problem)


@attrs.frozen(eq=False)
class DocumentPart:
    """What stands at one path of a document, and keeps its location there."""

    data: Any

    _document: Document | OverriddenDocument

    keys: Keys
    """The names and positions that lead there."""

    def locate(self, problem: Problem) -> Problem:
        """Return *problem* under its path in the whole document, and with its location."""
        return self._document.locate(problem.within(*self.keys))


AnyDocument: TypeAlias = Document | OverriddenDocument | DocumentPart


def part_at(document: Document | OverriddenDocument, path: str) -> DocumentPart:
    """Return what stands at *path* in a document.

    Raises:
        ConfigError: If nothing stands there.
        ValueError: If *path* is none, or leads to several values.
    """
    place = DocumentPath(path)
    keys = place.keys
    found, problems = place.find(document.data)
    if problems:
        raise ConfigError(document.locate(problem) for problem in problems)
    return DocumentPart(found[0].value, document, keys)


def pointed_at_configs(
    problems: Iterable[Problem],
    data: Any,
    cls: type[Schema],
    registry: Registry,
    *,
    how: str,
    above: Keys = (),
) -> list[Problem]:
    """Return *problems*; of *data* that only holds configs, the one that says where.

    Args:
        problems: What is wrong with *data*, taken for a config of *cls*.
        data: What stands in the document.
        cls: The open config of a family, whose configs are looked for.
        registry: What knows the types of the family.
        how: The way to name such a place; gets its path: ``--at {}``.
        above: What leads to *data* in its document.
    """
    found = list(problems)
    for problem in found:
        if _is_of_no_config(problem, data) and (places := _places(data, cls, registry, how, above)):
            return [attrs.evolve(problem, suggestion=places)]  # the others follow from this one
    return found


def _is_of_no_config(problem: Problem, data: Any) -> bool:
    """Return whether a problem is that *data* names no type, or is no mapping."""
    if problem.keys:
        return problem.keys == ("type",) and isinstance(data, dict) and "type" not in data
    return isinstance(data, list)


def _places(data: Any, cls: type[Schema], registry: Registry, how: str, above: Keys) -> str | None:
    """Return in words where configs stand in *data*; None where none is found."""
    if "attention_constructor" in data:
        return "this looks like the config of a transformer block, which structure_block reads"
    if not is_open(cls):
        return None
    found = list(_configs_in(data, cls, frozenset(registry.of(cls).types())))
    if not found:
        return None
    first = path_text((*above, *found[0]))
    others = f", and {len(found) - 1} more elsewhere" if len(found) > 1 else ""
    return f"a config stands at {first}{others}; name its place: {how.format(first)}"


def _configs_in(data: Any, family: type[OpenConfig], types: frozenset[str]) -> Iterator[Keys]:
    """Yield the paths of what looks like a config of a family, the nearest to the top first."""
    # of a family whose types all require an option, what has none is something else of that type
    others = plan_of(family).required - {"type"}
    waiting: deque[Found] = deque([Found((), data)])
    for _ in range(MOST_LOOKED_AT):
        if not waiting:
            return
        keys, value = waiting.popleft()
        if isinstance(value, dict) and keys and isinstance(value.get("type"), str):
            name = value["type"].rpartition(":")[2]
            if others & value.keys() if others else name in types:
                yield keys
        elif isinstance(value, dict):
            waiting += [Found((*keys, key), item) for key, item in value.items()]
        elif isinstance(value, list):
            waiting += [Found((*keys, key), item) for key, item in enumerate(value)]


def override(document: Document, assignments: Sequence[str]) -> OverriddenDocument:
    """Return *document* with some of its values replaced.

    Args:
        document: The document. Its data is changed in place.
        assignments: Each ``path=value``, the value written as in YAML: ``model.depth=6``,
            ``branches=[a, b]``. Mappings on the way that are not there are made; a later assignment
            goes before an earlier one.

    Raises:
        ConfigError: If an assignment is none, or leads through what is no mapping or list; every
            such one is reported.
    """
    problems: list[Problem] = []
    overridden: list[Keys] = []
    data = document.data
    for assignment in assignments:
        try:
            keys, value = _read(assignment)
            made = _made(data, keys)
            data = _with(data, keys, value)
            overridden.append(made)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return OverriddenDocument(data, document, tuple(overridden))


def _read(assignment: str) -> tuple[Keys, Any]:
    """Return the keys that an assignment leads to, and its value."""
    path, equals, text = assignment.partition("=") if type(assignment) is str else ("", "", "")
    if not equals:
        raise _refused(f"expected PATH=VALUE, got {assignment!r}", "such as model.depth=6")
    try:
        keys = DocumentPath(path).keys
    except ValueError as error:
        raise _refused(str(error)) from None
    if len(keys) > DEEPEST:
        raise _refused(TOO_DEEP)
    if not text.strip():
        return keys, None
    try:
        value = parse(text, "yaml", file=COMMAND_LINE).data
    except ConfigError as error:
        raise error.with_problems(problem.within(*keys) for problem in error.problems) from None
    if len(keys) + depth_of(value) > DEEPEST:
        raise _refused(TOO_DEEP, keys=keys)
    return keys, value


def _made(data: Any, keys: Keys) -> Keys:
    """Return as much of *keys* as leads to the first value that is not there and will be made."""
    for end, key in enumerate(keys, start=1):
        if isinstance(data, list) and isinstance(key, int) and key < len(data):
            data = data[key]
        else:
            data = data.get(key) if isinstance(data, dict) else None
        if data is None:
            return keys[:end]
    return keys


def _with(data: Any, keys: Keys, value: Any) -> Any:
    """Return *data* with *value* under *keys*; changed in place where it is a mapping or list."""
    if not keys:
        return value
    key = keys[0]
    # a mapping that is missing, or null, is made; a list is not, since its length is unknown
    holder: Any = {} if data is None and isinstance(key, str) else data
    if isinstance(key, int) and not (isinstance(holder, list) and key < len(holder)):
        raise _refused("there is no such position to override", keys=(key,))
    if isinstance(key, str) and not isinstance(holder, dict):
        raise _refused("leads through what is no mapping", keys=(key,))

    inner = holder[key] if isinstance(key, int) else holder.get(key)
    try:
        holder[key] = _with(inner, keys[1:], value)
    except ConfigError as error:
        raise error.with_problems(problem.within(key) for problem in error.problems) from None
    return holder


def _refused(message: str, suggestion: str | None = None, keys: Keys = ()) -> ConfigError:
    problem = Problem(message=message, suggestion=suggestion, keys=keys, file=COMMAND_LINE)
    return ConfigError([problem])
