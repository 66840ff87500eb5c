"""YAML composed from its events: bounded, no key repeated, with the location of each value."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from noether_core.errors import MOST_PROBLEMS, ConfigError, quoted_if_long, shown
from noether_core.structuring.documents.document import MOST_VALUES, SourceMap, repeated_key
from noether_core.structuring.documents.limits import (
    DEEPEST,
    TOO_DEEP,
    TOO_MANY,
    Refused,
    depth_of,
)
from noether_core.structuring.documents.yaml_scalars import (
    plain_scalar,
    tagged_collection,
    tagged_scalar,
)

if TYPE_CHECKING:
    from noether_core.errors import Problem
    from noether_core.structuring.documents.document import Source

_Event = Any  # PyYAML's types make the marks optional, which every event has
_Composed = tuple[Any, SourceMap]

MERGE: Final = "<<"
"""The key, where it is not quoted, whose mappings are merged into the one that holds it."""

MERGE_TAG: Final = "tag:yaml.org,2002:merge"
"""The tag that some programs write before a merge key."""

NAMING: Final = "name anchors with letters, digits, '-' and '_'"
"""The way out for names of anchors that libyaml does not read to their end."""

_BEHIND_NAMES: Final = frozenset(" \t\r\n,]}")
"""What may follow the name of an anchor or alias."""

MOST_ALIASED: Final = 10_000
"""Values that all aliases of a document may repeat together."""


class _Anchored(NamedTuple):
    """A value that aliases may repeat."""

    data: Any
    source_map: SourceMap
    size: int
    """How many values it is, those in it included."""


class _Mapping:
    """A mapping while it is composed."""

    __slots__ = ("data", "merge", "merged", "parts")

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.parts: dict[str | int, SourceMap] = {}

        self.merged: list[_Composed] = []
        """Mappings behind its merge key; the first of them goes before the others."""

        self.merge: SourceMap | None = None
        """Where its merge key stands, if it has one."""

    def take_merged(self) -> None:
        """Take over what is merged and has no value of its own, with its location."""
        for data, source_map in self.merged:
            for key, part in (source_map.parts or {}).items():
                if key not in self.parts:
                    self.data[str(key)] = data[key]
                    self.parts[key] = part


class Composer:
    """Composes one document from the events of a parser.

    What it cannot accept becomes None in the data, and one of the problems.

    Args:
        source: The document.
        next_event: Returns one event after the other.
        problems: What is wrong with the document; what is found is added.
    """

    def __init__(
        self, source: Source, next_event: Callable[[], _Event], problems: list[Problem]
    ) -> None:
        from yaml import events

        self._problems = problems
        self._source = source
        self._next = next_event
        self._compose: dict[type, Callable[[Any], _Composed]] = {
            events.ScalarEvent: self._scalar,
            events.MappingStartEvent: self._mapping,
            events.SequenceStartEvent: self._sequence,
            events.AliasEvent: self._alias,
        }
        self._mapping_end = events.MappingEndEvent
        self._sequence_end = events.SequenceEndEvent

        self._keys: list[str | int] = []  # the path of the value that is being composed
        self._depth = 0
        self._count = 0
        self._aliased = 0
        self._anchors: dict[str, _Anchored | None] = {}  # None while the value is not whole

    def node(self) -> _Composed:
        """Return the data and the source map of the value that comes next."""
        event = self._next()
        return self._compose[type(event)](event)

    def _scalar(self, event: _Event) -> _Composed:
        start = event.start_mark.index
        self._add_value(start)
        value = self._accepted(_value_of(event), start)
        source_map = SourceMap(start)
        if event.anchor is not None:
            self._check_name("&", event)
            self._anchors[event.anchor] = _Anchored(value, source_map, 1)
        return value, source_map

    def _mapping(self, event: _Event) -> _Composed:
        before = self._open(event, "map")
        mapping = _Mapping()
        while type(key := self._next()) is not self._mapping_end:
            if _is_merge(key):
                self._merge(key, mapping)
            else:
                self._entry(key, mapping)
        if mapping.merged:
            mapping.take_merged()
        return self._close(event, mapping.data, mapping.parts, before)

    def _entry(self, event: _Event, mapping: _Mapping) -> None:
        start = event.start_mark.index
        key = self._key(event, start, mapping.parts)
        self._count -= 1  # a key is no value

        # the value of a refused key is composed too, for its own problems and to pass its events
        self._keys.append(str(getattr(event, "value", "?")) if key is None else key)
        value, source_map = self.node()
        self._keys.pop()

        if key is not None:
            source_map.key_start = start
            mapping.data[key] = value
            mapping.parts[key] = source_map

    def _merge(self, event: _Event, mapping: _Mapping) -> None:
        """Compose what stands behind a merge key."""
        start = event.start_mark.index
        if mapping.merge is not None:
            keys = (*self._keys, MERGE)
            problem = repeated_key(self._source, keys, start, mapping.merge)
            way_out = "list the mappings behind one: '<<: [*first, *second]'"
            self._report(attrs.evolve(problem, suggestion=way_out))
        mapping.merge = SourceMap(start, start)

        self._keys.append(MERGE)
        reported = len(self._problems)
        value, source_map = self.node()
        items = [(value, source_map)]
        if isinstance(value, list) and source_map.parts is not None:
            items = list(zip(value, source_map.parts.values(), strict=True))
        for item, place in items:
            if isinstance(item, dict):
                mapping.merged.append((item, place))
            elif len(self._problems) == reported:
                message = f"expected a mapping to merge, or a list of them, got {shown(item)}"
                self._refuse(message, place.start)
        self._keys.pop()

    def _key(self, event: _Event, start: int, parts: dict[str | int, SourceMap]) -> str | None:
        """Return a key, or None once the reason is reported why it is refused."""
        reported = len(self._problems)
        key, _ = self._compose[type(event)](event)
        if type(key) is not str:
            if len(self._problems) == reported:
                self._refuse_foreign_key(event, key, start)
        elif key in parts:
            self._report(repeated_key(self._source, (*self._keys, key), start, parts[key]))
        else:
            return key
        return None

    def _sequence(self, event: _Event) -> _Composed:
        before = self._open(event, "seq")
        items: list[Any] = []
        parts: dict[str | int, SourceMap] = {}
        while type(item := self._next()) is not self._sequence_end:
            self._keys.append(len(items))
            value, parts[len(items)] = self._compose[type(item)](item)
            self._keys.pop()
            items.append(value)
        return self._close(event, items, parts, before)

    def _open(self, event: _Event, name: str) -> int:
        """Enter a mapping or list; return how many values came before it."""
        start = event.start_mark.index
        self._depth += 1
        if self._depth > DEEPEST:
            raise ConfigError([*self._problems, self._source.problem(TOO_DEEP, start)])
        if event.tag is not None:
            self._accepted(tagged_collection(event.tag, name), start)
        if event.anchor is not None:
            self._check_name("&", event)
            self._anchors[event.anchor] = None
        before = self._count
        self._add_value(start)
        return before

    def _close(
        self, event: _Event, data: Any, parts: dict[str | int, SourceMap], before: int
    ) -> _Composed:
        self._depth -= 1
        source_map = SourceMap(event.start_mark.index, None, parts)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(data, source_map, self._count - before)
        return data, source_map

    def _alias(self, event: _Event) -> _Composed:
        start = event.start_mark.index
        self._check_name("*", event)
        anchored = self._anchors.get(event.anchor)
        if anchored is None:
            fault = "has no anchor before it"
            if event.anchor in self._anchors:
                fault = "stands inside what it repeats"
            self._refuse(f"the alias {quoted_if_long('*' + event.anchor)} {fault}", start)
            return None, SourceMap(start)

        # counted before anything is copied, so that a few lines cannot make gigabytes
        self._count += anchored.size
        self._aliased += anchored.size
        if self._aliased > MOST_ALIASED:
            message = f"aliases repeat more than {MOST_ALIASED} values"
            problem = self._source.problem(message, start, keys=tuple(self._keys))
            raise ConfigError([*self._problems, problem])
        if self._depth + depth_of(anchored.data) > DEEPEST:
            raise ConfigError([*self._problems, self._source.problem(TOO_DEEP, start)])
        return copy.deepcopy(anchored.data), SourceMap(start, None, anchored.source_map.parts)

    def _check_name(self, mark: str, event: _Event) -> None:
        """Report a name that goes on, by YAML 1.2, where the parser takes a value to begin."""
        name = mark + event.anchor
        end = self._source.text.index(name, event.start_mark.index) + len(name)
        following = self._source.text[end : end + 1]
        if not following or following in _BEHIND_NAMES:
            return
        way_out = NAMING
        if mark == "*" and self._source.text[end : end + 2].strip() == ":":
            way_out = "put a space before it"
        self._refuse(f"{following!r} cannot follow {quoted_if_long(name)}", end, way_out)

    def _add_value(self, start: int) -> None:
        self._count += 1
        if self._count > MOST_VALUES:
            raise ConfigError([*self._problems, self._source.problem(TOO_MANY, start)])

    def _accepted(self, value: Any, start: int) -> Any:
        if isinstance(value, Refused):
            self._refuse(value.message, start, value.suggestion)
            return None
        return value

    def _refuse_foreign_key(self, event: _Event, key: Any, start: int) -> None:
        if isinstance(key, (dict, list)):
            self._refuse("expected text for a key, got a mapping or a list", start)
            return
        written = getattr(event, "value", None)
        if written is None:
            self._refuse(f"expected text for a key, got an alias of {shown(key)}", start)
            return
        quoted = quoted_if_long(written)
        can_be_shown = quoted in (written, "''")
        self._refuse(
            f"expected text for a key, got {quoted if written else 'nothing'}",
            start,
            f'quote it: "{written}"' if can_be_shown else "quote it",
        )

    def _refuse(self, message: str, start: int, suggestion: str | None = None) -> None:
        """Report a problem of what starts at *start*, under the path that is open."""
        keys = tuple(self._keys)
        self._report(self._source.problem(message, start, keys=keys, suggestion=suggestion))

    def _report(self, problem: Problem) -> None:
        self._problems.append(problem)
        if len(self._problems) > MOST_PROBLEMS:
            raise ConfigError(self._problems)


def _is_merge(event: _Event) -> bool:
    if getattr(event, "value", None) != MERGE or event.style:
        return False
    return event.tag in (None, MERGE_TAG)


def _value_of(event: _Event) -> Any:
    if event.tag is not None:
        return tagged_scalar(event.tag, event.value)
    return event.value if event.style else plain_scalar(event.value)
