"""YAML composed from its events: bounded, without repeated keys, every value in its place."""

from __future__ import annotations

import copy
import re
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from noether_core.errors import ConfigError, quoted_if_long, shown
from noether_core.structuring.documents.document import Spot, repeated
from noether_core.structuring.documents.limits import (
    DEEPEST,
    MOST_PROBLEMS,
    TOO_DEEP,
    Refused,
    whole_number,
)

CONSTANTS: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}

_NUMBER_STARTS: Final = frozenset("+-.0123456789")
_NUMBER: Final = re.compile(
    r"(?P<whole>[-+]?[0-9]+)|0o(?P<octal>[0-7]+)|0x(?P<hexadecimal>[0-9a-fA-F]+)"
    r"|(?P<fraction>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
)
_BASES: Final = {"whole": 10, "octal": 8, "hexadecimal": 16}


def meaning(text: str) -> Any:
    """Return what the plain scalar *text* means: None, a bool, a number, a `Refused` one, or the
    text itself.
    """
    if text in CONSTANTS:
        return CONSTANTS[text]
    return _number(text) if text[0] in _NUMBER_STARTS else text


def _number(text: str) -> Any:
    match = _NUMBER.fullmatch(text)
    if match is None or match.lastgroup is None:
        return text
    if match.lastgroup == "fraction":
        return float(text)
    return whole_number(match[match.lastgroup], _BASES[match.lastgroup])


_CORE: Final = "tag:yaml.org,2002:"
_SCALARS: Final[dict[str, type]] = {"int": int, "float": float, "bool": bool, "null": NoneType}
_NAMES: Final = frozenset({"str", "map", "seq", *_SCALARS})


def tagged_scalar(tag: str, text: str) -> Any:
    """Return what the scalar *text* means under *tag*, or why it is `Refused`."""
    name = tag.removeprefix(_CORE)
    if tag in ("!", f"{_CORE}str"):
        return text
    value = meaning(text)
    if name == "float" and type(value) is int and text.lstrip("+-").isdecimal():
        return float(text)
    return value if type(value) is _SCALARS.get(name) else _refused(tag, text)


def tagged_collection(tag: str, name: str) -> Refused | None:
    """Return why *tag* is refused on a collection, of which the core schema has *name*: ``map`` or
    ``seq``.
    """
    return (
        None
        if tag in ("!", _CORE + name)
        else _refused(tag, "a mapping" if name == "map" else "a list")
    )


def _refused(tag: str, found: str) -> Refused:
    short = tag.replace(_CORE, "!!", 1)
    if tag.startswith(_CORE) and tag.removeprefix(_CORE) in _NAMES:
        return Refused(f"the tag {short} does not fit {quoted_if_long(found)}")
    return Refused(
        f"the tag {shown(short)} is not allowed", "remove it; a config holds plain data only"
    )


if TYPE_CHECKING:
    from collections.abc import Callable

    from noether_core.errors import Problem
    from noether_core.structuring.documents.document import Source

    _Composed = tuple[Any, Spot]
    _Event = Any  # PyYAML's types make the marks optional, which every event has

MOST_ALIASED: Final = 10_000
"""Values that all aliases of a document may repeat together."""


class Composer:
    """Composes one document; what it cannot accept becomes None in the data, and one of *problems*."""

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
        self._keys: list[str | int] = []
        self._depth = 0
        self._count = 0
        self._aliased = 0
        self._anchors: dict[str, tuple[Any, Spot, int] | None] = {}

    def node(self) -> _Composed:
        """Return the data and the spot of the value that comes next."""
        event = self._next()
        return self._compose[type(event)](event)

    def _scalar(self, event: _Event) -> _Composed:
        self._count += 1
        at = event.start_mark.index
        value = self._accepted(_meaning(event), at)
        spot = Spot(at)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, spot, 1)
        return value, spot

    def _mapping(self, event: _Event) -> _Composed:
        before = self._open(event, "map")
        data: dict[str, Any] = {}
        parts: dict[str | int, Spot] = {}
        while type(key := self._next()) is not self._mapping_end:
            self._entry(key, data, parts)
        return self._close(event, data, parts, before)

    def _entry(self, event: _Event, data: dict[str, Any], parts: dict[str | int, Spot]) -> None:
        at = event.start_mark.index
        key = self._key(event, at, parts)
        self._keys.append(str(getattr(event, "value", "?")) if key is None else key)
        value, spot = self.node()
        self._keys.pop()
        if key is not None:
            spot.key = at
            data[key] = value
            parts[key] = spot

    def _key(self, event: _Event, at: int, parts: dict[str | int, Spot]) -> str | None:
        """Return a key, or None once it is told why it is refused."""
        told = len(self._problems)
        key, _ = self._compose[type(event)](event)
        if type(key) is not str:
            if len(self._problems) == told:
                self._refuse_foreign_key(event, key, at)
        elif key in parts:
            self._tell(repeated(self._source, (*self._keys, key), at, parts[key]))
        elif key == "<<" and not getattr(event, "style", None):
            self._refuse("YAML 1.2 has no merge keys ('<<')", at, "write the options out")
        else:
            return key
        return None

    def _sequence(self, event: _Event) -> _Composed:
        before = self._open(event, "seq")
        items: list[Any] = []
        parts: dict[str | int, Spot] = {}
        while type(item := self._next()) is not self._sequence_end:
            self._keys.append(len(items))
            value, parts[len(items)] = self._compose[type(item)](item)
            self._keys.pop()
            items.append(value)
        return self._close(event, items, parts, before)

    def _open(self, event: _Event, name: str) -> int:
        """Enter a mapping or list; return how many values came before it."""
        at = event.start_mark.index
        self._depth += 1
        if self._depth > DEEPEST:
            raise ConfigError([*self._problems, self._source.problem(TOO_DEEP, at)])
        if event.tag is not None:
            self._accepted(tagged_collection(event.tag, name), at)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        before = self._count
        self._count += 1
        return before

    def _close(
        self, event: _Event, data: Any, parts: dict[str | int, Spot], before: int
    ) -> _Composed:
        self._depth -= 1
        spot = Spot(event.start_mark.index, None, parts)
        if event.anchor is not None:
            self._anchors[event.anchor] = (data, spot, self._count - before)
        return data, spot

    def _alias(self, event: _Event) -> _Composed:
        at = event.start_mark.index
        anchored = self._anchors.get(event.anchor)
        if anchored is None:
            stands = (
                "stands inside what it repeats"
                if event.anchor in self._anchors
                else "has no anchor before it"
            )
            self._refuse(f"the alias {quoted_if_long('*' + event.anchor)} {stands}", at)
            return None, Spot(at)
        data, spot, size = anchored
        self._count += size
        self._aliased += size
        if self._aliased > MOST_ALIASED:
            message = f"aliases repeat more than {MOST_ALIASED} values"
            raise ConfigError(
                [*self._problems, self._source.problem(message, at, keys=tuple(self._keys))]
            )
        return copy.deepcopy(data), Spot(at, None, spot.parts)

    def _accepted(self, value: Any, at: int) -> Any:
        if isinstance(value, Refused):
            self._refuse(value.message, at, value.suggestion)
            return None
        return value

    def _refuse_foreign_key(self, event: _Event, key: Any, at: int) -> None:
        if isinstance(key, (dict, list)):
            self._refuse("expected text for a key, got a mapping or a list", at)
            return
        written = getattr(event, "value", "")
        told = quoted_if_long(written)
        way_out = f'quote it: "{written}"' if told in (written, "''") else "quote it"
        self._refuse(f"expected text for a key, got {told if written else 'nothing'}", at, way_out)

    def _refuse(self, message: str, at: int, suggestion: str | None = None) -> None:
        """Tell a problem of what stands at *at*, under the keys that are open."""
        self._tell(self._source.problem(message, at, keys=tuple(self._keys), suggestion=suggestion))

    def _tell(self, problem: Problem) -> None:
        self._problems.append(problem)
        if len(self._problems) >= MOST_PROBLEMS:
            raise ConfigError(self._problems)


def _meaning(event: _Event) -> Any:
    if event.tag is not None:
        return tagged_scalar(event.tag, event.value)
    return event.value if event.style else meaning(event.value)
