"""A document: its text, its data, and where every value stands in the text."""

from __future__ import annotations

import functools
import re
from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import attrs

from noether_core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST_TEXT: Final = 2**20
"""Characters that a document may have."""

_LINE_BREAK = re.compile("\r\n|\n|\r")


def unprintable(text: str) -> re.Match[str] | None:
    """Return the first character that no document may hold as itself: YAML's rule, the strictest of
    the three.
    """
    return _unprintable_in(text).search(text)


def _unprintable_in(text: str) -> re.Pattern[str]:
    """Return what matches unprintable characters in *text*; the set of all of them takes
    milliseconds to compile.
    """
    return re.compile("[^\t\n\r\x20-\x7e]" if text.isascii() else f"[^{_PRINTABLE}]")


_PRINTABLE = "\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff"


class Source:
    """A document's name and text, which knows the line and column of every character.

    Lines end where editors end them: at LF, CR LF or CR.
    """

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self._shown: dict[int, str] = {}

    def problem(self, message: str, index: int, **facts: Any) -> Problem:
        """Return the problem that the character at *index* has; *facts* are further fields of it."""
        return self.place(Problem(message=message, **facts), index)

    def place(self, problem: Problem, index: int) -> Problem:
        """Return *problem* with the place of the character at *index*."""
        line = self.line(index)
        start = self._starts[line - 1]
        source = self._line_from(start)
        return attrs.evolve(
            problem, file=self.file, line=line, column=index - start + 1, source=source
        )

    def line(self, index: int) -> int:
        """Return the line, from 1, of the character at *index*."""
        return bisect_right(self._starts, index)

    def index(self, line: int, column: int) -> int:
        """Return the index of a place, or the nearest that the text has."""
        start = self._starts[min(line, len(self._starts)) - 1]
        return min(start + column - 1, len(self.text))

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(found.end() for found in _LINE_BREAK.finditer(self.text))]

    def _line_from(self, start: int) -> str:
        """Return one line as it may be shown; each is kept, since a long one may have many
        problems.
        """
        if start not in self._shown:
            end = _LINE_BREAK.search(self.text, start)
            line = self.text[start : end.start() if end else None]
            self._shown[start] = _unprintable_in(line).sub("\ufffd", line)
        return self._shown[start]


class Spot:
    """Where one value stands: plain slots and no more, since a document has one for each of its
    values.
    """

    __slots__ = ("at", "key", "parts")

    def __init__(
        self, at: int, key: int | None = None, parts: dict[str | int, Spot] | None = None
    ) -> None:
        self.at = at
        """Index of the value's first character."""

        self.key = key
        """Index of its key's first character; None for the document itself and for items of lists.
        """

        self.parts = parts
        """Spots of a mapping's values by key, or of a list's items by number; None for a scalar."""

    def find(self, keys: Iterable[str | int], *, at_key: bool) -> int:
        """Return the index of the value under *keys*, or of its key.

        What is missing is found at the key of the nearest mapping or list that should hold it.
        """
        spot = self
        for key in keys:
            part = spot.parts.get(key) if spot.parts else None
            if part is None:
                at_key = True
                break
            spot = part
        return spot.key if at_key and spot.key is not None else spot.at


def placed(problem: Problem, source: Source, spot: Spot) -> Problem:
    """Return *problem* with its place in *source*, whose document has *spot*; one that has a place
    keeps it.
    """
    if problem.line is not None:
        return problem
    return source.place(problem, spot.find(problem.keys, at_key=problem.at_key))


def repeated(source: Source, keys: tuple[str | int, ...], at: int, first: Spot) -> Problem:
    """Return the problem of the key at *at*, the last of *keys*, which *first* has already."""
    line = source.line(first.at if first.key is None else first.key)
    return source.problem(f"given twice, first on line {line}", at, keys=keys, at_key=True)


Format = Literal["yaml", "toml", "json"]

_Reader = Callable[[Source], tuple[Any, Callable[[], Spot]]]
"""Returns the data, and what finds its spots when they are asked for."""


@attrs.frozen(eq=False)
class Document:
    """What a text says, and where."""

    data: Any
    """Dicts, lists, text, numbers, booleans and None, none of it shared; the reader may change it.
    """

    _source: Source = attrs.field(repr=False)
    _find_spot: Callable[[], Spot] = attrs.field(repr=False)

    def locate(self, problem: Problem) -> Problem:
        """Return *problem* with file, line, column and the line itself; one that has a line stays
        as it is.

        The place is that of the value under the problem's keys, or of its key where that is at
        fault. What is missing is placed at the key of the nearest mapping or list that should hold
        it.
        """
        return placed(problem, self._source, self._find_spot())


def parse(text: str, format: Format, *, file: str = "<text>") -> Document:
    """Return what *text* says.

    Args:
        text: The whole document; a byte order mark at its start is passed over.
        format: How it is written.
        file: What problems call it.

    Raises:
        ConfigError: If it is not valid, too large, or holds what plain data does not.
        ValueError: If there is no such *format*.
    """
    if format not in get_args(Format):
        raise ValueError(f"no format {format!r}; expected one of {', '.join(get_args(Format))}")
    source = Source(text.removeprefix("\ufeff"), file)
    _refuse_large(source)
    _refuse_unprintable(source)
    try:
        data, find_spot = _reader(format)(source)
    except RecursionError as error:
        message = "nested too deep for what is left of Python's stack"
        raise ConfigError([Problem(message=message, file=file)]) from error
    return Document(data, source, functools.cache(find_spot))


def _reader(format: Format) -> _Reader:
    """Return the reader of one format; the others are not imported."""
    match format:
        case "yaml":
            from noether_core.structuring.documents.yaml import read_yaml

            return read_yaml
        case "toml":
            from noether_core.structuring.documents.toml import read_toml

            return read_toml
        case "json":
            from noether_core.structuring.documents.json import read_json

            return read_json


def _refuse_large(source: Source) -> None:
    if len(source.text) > LARGEST_TEXT:
        raise ConfigError(
            [Problem(message=f"more than {LARGEST_TEXT} characters", file=source.file)]
        )


def _refuse_unprintable(source: Source) -> None:
    if found := unprintable(source.text):
        message = f"the character U+{ord(found.group()):04X} cannot stand in a document"
        suggestion = "save the file as UTF-8" if found.group() == "\0" else None
        raise ConfigError([source.problem(message, found.start(), suggestion=suggestion)])
