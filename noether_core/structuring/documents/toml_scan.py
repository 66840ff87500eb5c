"""Where every value of a TOML document stands, and which keys are given twice."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from noether_core.errors import MOST_PROBLEMS, ConfigError
from noether_core.structuring.documents.document import MOST_VALUES, SourceMap, repeated_key
from noether_core.structuring.documents.limits import DEEPEST, TOO_DEEP, TOO_MANY

if TYPE_CHECKING:
    from noether_core.errors import Problem
    from noether_core.structuring.documents.document import Source

    _Keys = tuple[str | int, ...]

# All quantifiers are possessive: what has been passed is never tried again, so that time stays
# linear in the text, which need not be valid.
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
"""Text of the four kinds, or a number, word or date; text without an end goes on as far as it can.
"""


MOST_NAMES: Final = 2 * MOST_VALUES
"""Names that all keys of a document may have together; a dotted key has several."""


class _Name(NamedTuple):
    """One name of a dotted key, and its index in the text."""

    text: str
    start: int


class _LostError(Exception):
    """The document is not valid, so that what follows cannot be understood."""


def scan_toml(source: Source, end: int | None = None) -> tuple[SourceMap, list[Problem]]:
    """Return the source map of a TOML document, and a problem for each repeated key or table.

    The scan ends at the line that holds *end*, and where the document is not valid.

    Raises:
        ConfigError: If keys or values stand too deep in each other, or there are too many.
    """
    scan = _Scan(source)
    with suppress(_LostError):
        scan.document(len(source.text) if end is None else end)
    return scan.root, scan.repeats


class _Scan:
    """One pass over the text, with a cursor."""

    def __init__(self, source: Source) -> None:
        self.root = SourceMap(0, None, {})
        self.repeats: list[Problem] = []
        self._source = source
        self._text = source.text
        self._at = 0
        self._names_read = 0
        self._count = 1  # values, the table at the top among them
        self._defined: set[SourceMap] = set()  # values, and tables that have a header of their own

    def document(self, end: int) -> None:
        self._skip(_BLANK)
        self.root.start = self._at
        table = self.root
        keys: _Keys = ()
        while self._at < end:
            if self._text[self._at] == "[":
                table, keys = self._header()
            else:
                self._entry(table, keys, 0)
            self._skip(_REST_OF_LINE)
            self._skip(_BLANK)

    def _header(self) -> tuple[SourceMap, _Keys]:
        """Read ``[table]`` or ``[[tables]]``; return the table that it opens, and its keys."""
        start = self._at
        is_item = self._text.startswith("[[", start)
        self._at += 2 if is_item else 1
        *parents, name = self._names()
        table, keys = self._inside(self.root, (), parents)
        table, keys = self._child(table, name), (*keys, name.text)
        if not is_item:
            self._define(table, keys, name.start)
            return table, keys

        items = _parts_of(table)
        position = len(items)
        self._add_value(start)
        items[position] = SourceMap(start, None, {})
        return items[position], (*keys, position)

    def _entry(self, table: SourceMap, keys: _Keys, depth: int) -> None:
        """Read ``key = value`` of *table*, where the key may be dotted."""
        *parents, name = self._names()
        if not self._take("="):
            raise _LostError
        table, keys = self._inside(table, keys, parents)
        keys = (*keys, name.text)
        self._skip(_SPACE)
        value = self._value(keys, depth)
        value.key_start = name.start
        self._define(_parts_of(table).setdefault(name.text, value), keys, name.start)

    def _names(self) -> list[_Name]:
        """Read a dotted key."""
        names: list[_Name] = []
        while True:
            self._skip(_SPACE)
            found = self._match(_NAME)
            names.append(_Name(_unquoted(found.group()), found.start()))
            if len(names) > DEEPEST:
                raise ConfigError([self._source.problem(TOO_DEEP, found.start())])
            self._names_read += 1
            if self._names_read > MOST_NAMES:
                message = f"more than {MOST_NAMES} names in keys"
                raise ConfigError([self._source.problem(message, found.start())])
            self._skip(_SPACE)
            if not self._take("."):
                return names

    def _inside(self, table: SourceMap, keys: _Keys, names: list[_Name]) -> tuple[SourceMap, _Keys]:
        """Return the table that *names* lead to; in a list of tables that is the last one."""
        for name in names:
            table, keys = self._child(table, name), (*keys, name.text)
            items = _parts_of(table)
            if 0 in items:
                last = len(items) - 1
                table, keys = items[last], (*keys, last)
        return table, keys

    def _child(self, table: SourceMap, name: _Name) -> SourceMap:
        """Return a table of *table*, which stands where it is first named."""
        parts = _parts_of(table)
        if name.text not in parts:
            self._add_value(name.start)
            parts[name.text] = SourceMap(name.start, name.start, {})
        return parts[name.text]

    def _define(self, value: SourceMap, keys: _Keys, start: int) -> None:
        if value in self._defined and len(self.repeats) <= MOST_PROBLEMS:
            self.repeats.append(repeated_key(self._source, keys, start, value))
        self._defined.add(value)

    def _value(self, keys: _Keys, depth: int) -> SourceMap:
        start = self._at
        if depth >= DEEPEST:
            raise ConfigError([self._source.problem(TOO_DEEP, start)])
        self._add_value(start)
        if self._take("["):
            return self._array(SourceMap(start, None, {}), keys, depth + 1)
        if self._take("{"):
            return self._inline_table(SourceMap(start, None, {}), keys, depth + 1)
        self._match(_SCALAR)
        return SourceMap(start)

    def _add_value(self, start: int) -> None:
        self._count += 1
        if self._count > MOST_VALUES:
            raise ConfigError([self._source.problem(TOO_MANY, start)])

    def _array(self, array: SourceMap, keys: _Keys, depth: int) -> SourceMap:
        items = _parts_of(array)
        while not self._closes("]"):
            items[len(items)] = self._value((*keys, len(items)), depth)
        return array

    def _inline_table(self, table: SourceMap, keys: _Keys, depth: int) -> SourceMap:
        while not self._closes("}"):
            self._entry(table, keys, depth)
        return table

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
        is_next = self._text.startswith(char, self._at)
        self._at += is_next
        return is_next


def _parts_of(table: SourceMap) -> dict[str | int, SourceMap]:
    if table.parts is None:  # a scalar stands where a table should
        raise _LostError
    return table.parts


def _unquoted(written: str) -> str:
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
