"""TOML with the place of every value."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from noether_core.errors import ConfigError, path_text
from noether_core.schemas.frozen_mapping import MOST_DIGITS
from noether_core.structuring.documents.document import Spot, placed, repeated
from noether_core.structuring.documents.limits import (
    DEEPEST,
    MOST_PROBLEMS,
    TOO_DEEP,
    TOO_LONG,
    problems_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from noether_core.errors import Problem
    from noether_core.structuring.documents.document import Source, Spot

if TYPE_CHECKING:
    from noether_core.errors import Problem
    from noether_core.structuring.documents.document import Source

    _Keys = tuple[str | int, ...]
    _Name = tuple[str, int]

_SPACE: Final = re.compile(r"[ \t]*+")
_BLANK: Final = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_REST_OF_LINE: Final = re.compile(r"[^\n]*+")
_NAME: Final = re.compile(r"""[A-Za-z0-9_-]++|"(?:[^"\\\n]++|\\.)*+"|'[^'\n]*+'""")
_SCALAR: Final = re.compile(
    r'''"""(?:[^"\\]++|\\.|"{1,2}(?!"))*+(?:"{3,5})?+'''
    r"""|'{3}(?:[^']++|'{1,2}(?!'))*+(?:'{3,5})?+"""
    r"""|"(?:[^"\\\n]++|\\.)*+"?+|'[^'\n]*+'?+|[^,\]}#\n"'\[{]++""",
    re.DOTALL,
)
"""Text of the four kinds, or a number, word or date. Text without an end reaches as far as it can.
"""


class _LostError(Exception):
    """The document is not valid, so that what follows cannot be told."""


def scan_toml(source: Source, end: int | None = None) -> tuple[Spot, list[Problem]]:
    """Return the spot of a TOML document, and a problem for each key or table that is given twice.

    The scan ends at the line that holds *end*, and where the document is not valid.

    Raises:
        ConfigError: If keys or values stand too deep in each other.
    """
    scan = _Scan(source)
    with suppress(_LostError):
        scan.document(len(source.text) if end is None else end)
    return scan.root, scan.repeats


class _Scan:
    """One pass over the text, with a cursor."""

    def __init__(self, source: Source) -> None:
        self.root = Spot(0, None, {})
        self.repeats: list[Problem] = []
        self._source = source
        self._text = source.text
        self._at = 0
        self._told: set[Spot] = set()

    def document(self, end: int) -> None:
        self._skip(_BLANK)
        self.root.at = self._at
        table = self.root
        keys: _Keys = ()
        while self._at < end:
            if self._text[self._at] == "[":
                table, keys = self._header()
            else:
                self._entry(table, keys, 0)
            self._skip(_REST_OF_LINE)
            self._skip(_BLANK)

    def _header(self) -> tuple[Spot, _Keys]:
        """Read ``[table]`` or ``[[tables]]``; return the table that it opens, and its keys."""
        start = self._at
        is_item = self._text.startswith("[[", start)
        self._at += 2 if is_item else 1
        *parents, name = self._names()
        table, keys = self._inside(self.root, (), parents)
        table, keys = self._child(table, name), (*keys, name[0])
        if not is_item:
            self._tell(table, keys, name)
            return table, keys
        items = _parts(table)
        number = len(items)
        items[number] = Spot(start, None, {})
        return items[number], (*keys, number)

    def _entry(self, table: Spot, keys: _Keys, depth: int) -> None:
        """Read ``key = value`` of *table*, where the key may be dotted."""
        *parents, name = self._names()
        if not self._take("="):
            raise _LostError
        table, keys = self._inside(table, keys, parents)
        self._skip(_SPACE)
        spot = self._value((*keys, name[0]), depth)
        spot.key = name[1]
        self._tell(_parts(table).setdefault(name[0], spot), (*keys, name[0]), name)

    def _names(self) -> list[_Name]:
        """Read a dotted key: each name with its index."""
        names: list[_Name] = []
        while True:
            self._skip(_SPACE)
            found = self._match(_NAME)
            names.append((_name(found.group()), found.start()))
            if len(names) > DEEPEST:
                raise ConfigError([self._source.problem(TOO_DEEP, found.start())])
            self._skip(_SPACE)
            if not self._take("."):
                return names

    def _inside(self, table: Spot, keys: _Keys, names: list[_Name]) -> tuple[Spot, _Keys]:
        """Return the table that *names* lead to from *table*; in a list of tables that is the last."""
        for name in names:
            table, keys = self._child(table, name), (*keys, name[0])
            items = _parts(table)
            if 0 in items:
                keys = (*keys, len(items) - 1)
                table = items[len(items) - 1]
        return table, keys

    def _child(self, table: Spot, name: _Name) -> Spot:
        """Return a table of *table*, which stands where it is first named."""
        return _parts(table).setdefault(name[0], Spot(name[1], name[1], {}))

    def _tell(self, spot: Spot, keys: _Keys, name: _Name) -> None:
        if spot in self._told and len(self.repeats) < MOST_PROBLEMS:
            self.repeats.append(repeated(self._source, keys, name[1], spot))
        self._told.add(spot)

    def _value(self, keys: _Keys, depth: int) -> Spot:
        start = self._at
        if depth >= DEEPEST:
            raise ConfigError([self._source.problem(TOO_DEEP, start)])
        if self._take("["):
            return self._array(Spot(start, None, {}), keys, depth + 1)
        if self._take("{"):
            return self._inline_table(Spot(start, None, {}), keys, depth + 1)
        self._match(_SCALAR)
        return Spot(start)

    def _array(self, spot: Spot, keys: _Keys, depth: int) -> Spot:
        items = _parts(spot)
        while not self._closes("]"):
            items[len(items)] = self._value((*keys, len(items)), depth)
        return spot

    def _inline_table(self, spot: Spot, keys: _Keys, depth: int) -> Spot:
        while not self._closes("}"):
            self._entry(spot, keys, depth)
        return spot

    def _closes(self, bracket: str) -> bool:
        """Pass what stands between two items; return whether *bracket* came instead of an item."""
        self._skip(_BLANK)
        if self._take(","):
            self._skip(_BLANK)
        return self._take(bracket)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        self._match(pattern)

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise _LostError
        self._at = found.end()
        return found

    def _take(self, char: str) -> bool:
        taken = self._text.startswith(char, self._at)
        self._at += taken
        return taken


def _parts(spot: Spot) -> dict[str | int, Spot]:
    """Return the parts of what should be a table."""
    if spot.parts is None:
        raise _LostError
    return spot.parts


def _name(written: str) -> str:
    """Return the name that a bare or quoted key writes."""
    import tomllib

    if written[0] == "'":
        return written[1:-1]
    if written[0] != '"':
        return written
    try:
        name: str = tomllib.loads(f"name = {written}")["name"]
    except tomllib.TOMLDecodeError as error:
        raise _LostError from error
    return name


_COMPLAINT: Final = re.compile(
    r"(?P<message>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)",
    re.DOTALL,
)
_IMMUTABLE: Final = re.compile(r"Cannot mutate immutable namespace \((?P<keys>.*)\)", re.DOTALL)
_QUOTED: Final = re.compile(r"'([^']*)'")
_WAYS_OUT: Final = {
    "Invalid value": "text stands in quotes; true and false are written in lower case"
}
_OF_REPEATING: Final = ("Cannot", "Duplicate")
_DIGITS: Final = re.compile(rf"[0-9_]{{{MOST_DIGITS},}}+")


def read_toml(source: Source) -> tuple[dict[str, Any], Callable[[], Spot]]:
    """Return the data of a TOML document, and what finds its spots.

    Raises:
        ConfigError: If it is not TOML, or holds what plain data does not.
    """
    if sum(map(source.text.count, "[{.")) > DEEPEST:
        scan_toml(
            source
        )  # refuses keys and values that stand too deep, for which tomllib takes long
    data = _loads(source)
    if problems := problems_in(data):
        spot, _ = scan_toml(source)
        raise ConfigError(placed(problem, source, spot) for problem in problems)
    return data, lambda: scan_toml(source)[0]


def _loads(source: Source) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_complaints(source, str(error))) from error
    except ValueError as error:  # Python turns no more digits into a number
        digits = _DIGITS.search(source.text)
        raise ConfigError([source.problem(TOO_LONG, digits.start() if digits else 0)]) from error


def _complaints(source: Source, complaint: str) -> list[Problem]:
    """Return the problems of which tomllib tells the first, with its place at the end of its
    sentence.
    """
    found = _COMPLAINT.fullmatch(complaint)
    message = found["message"] if found else complaint
    at = len(source.text)
    if found and found["line"]:
        at = source.index(int(found["line"]), int(found["column"]))
    if message.startswith(_OF_REPEATING):
        _, repeats = scan_toml(source, end=at)
        if repeats:
            return repeats
    return [
        source.problem(f"not valid TOML: {_words(message)}", at, suggestion=_WAYS_OUT.get(message))
    ]


def _words(complaint: str) -> str:
    """Return what tomllib complains about, in plain words."""
    immutable = _IMMUTABLE.match(complaint)
    if immutable:
        return f"{path_text(re.findall(_QUOTED, immutable['keys']))} is whole already and takes no more keys"
    if complaint == "Cannot overwrite a value":
        return "the name before this has a value already"
    return f"{complaint[:1].lower()}{complaint[1:]}"
