"""A document: its text, its data, and where every value stands in the text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from noether_core.errors import Problem
from noether_core.quoting import UNSEEN

if TYPE_CHECKING:
    from collections.abc import Iterable

Format = Literal["yaml", "toml", "json"]

LARGEST_TEXT: Final = 2**20
"""Characters that a document may have."""

MOST_VALUES: Final = 2**15
"""Mappings, lists and scalars that a document may hold, which bounds the time that it takes."""

_LINE_BREAK = re.compile("\r\n|\n|\r")

_EMOJI = (
    r"\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u27ff\u2900-\u2bff"
    r"\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
_JOINED = rf"\u0600-\u0dff\ufe0f{_EMOJI}"
_UNSEEN_ALONE = (
    rf"[{UNSEEN}]"
    rf"(?<![{_EMOJI}]\ufe0f)(?<!\ufe0f(?=\u20e3))"  # not the colour of an emoji or key cap
    rf"(?<![{_JOINED}][\u200c\u200d](?=[{_JOINED}]))"  # nor joints of emoji and letters
)


class Source:
    """A document's name and text, which knows the line and column of every character.

    Lines end where editors end them: at LF, CR LF or CR.
    """

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self._lines: dict[int, str] = {}

    def problem(self, message: str, index: int, **facts: Any) -> Problem:
        """Return the problem of the character at *index*; *facts* are further fields of it."""
        return self.locate(Problem(message=message, **facts), index)

    def locate(self, problem: Problem, index: int) -> Problem:
        """Return *problem* with the line and column of the character at *index*."""
        line = self.line(index)
        start = self._starts[line - 1]
        return attrs.evolve(
            problem,
            file=self.file,
            line=line,
            column=index - start + 1,
            source=self._line_from(start),
        )

    def line(self, index: int) -> int:
        """Return the line, from 1, of the character at *index*."""
        return bisect_right(self._starts, index)

    def index(self, line: int, column: int) -> int:
        """Return the index of a line and column, or the nearest that the text has."""
        start = self._starts[min(line, len(self._starts)) - 1]
        return min(start + column - 1, len(self.text))

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(found.end() for found in _LINE_BREAK.finditer(self.text))]

    def _line_from(self, start: int) -> str:
        """Return one line as it may be shown."""
        # kept, since one long line may have many problems, each of which would cut it out anew
        if start not in self._lines:
            end = _LINE_BREAK.search(self.text, start)
            line = self.text[start : end.start() if end else None]
            self._lines[start] = _unseen_in(line).sub("\ufffd", line)
        return self._lines[start]


class SourceMap:
    """Where a value stands in the text, and where the values in it do.

    Args:
        start: Index of the value's first character.
        key_start: Index of its key's first character; None for the whole document and items of
            lists.
        parts: Maps of a mapping's values by key, of a list's items by position; None for a scalar.
    """

    __slots__ = ("key_start", "parts", "start")

    def __init__(
        self,
        start: int,
        key_start: int | None = None,
        parts: dict[str | int, SourceMap] | None = None,
    ) -> None:
        self.start = start
        self.key_start = key_start
        self.parts = parts

    def find(self, keys: Iterable[str | int], *, at_key: bool) -> int:
        """Return the index of the value under *keys*, or of its key.

        What is missing is found at the key of the nearest mapping or list that should hold it.
        """
        found = self
        for key in keys:
            part = found.parts.get(key) if found.parts else None
            if part is None:
                at_key = True
                break
            found = part
        if at_key and found.key_start is not None:
            return found.key_start
        return found.start


class Document:
    """What a text says, and where.

    Args:
        data: Dicts, lists, text, numbers, booleans and None, none of it shared: it may be changed.
        source: The text.
        source_map: Finds where the values stand in it, which is only needed for problems.
    """

    def __init__(self, data: Any, source: Source, source_map: Callable[[], SourceMap]) -> None:
        self.data = data
        self._source = source
        self._source_map = source_map

    def locate(self, problem: Problem) -> Problem:
        """Return *problem* with file, line, column and the line itself.

        The location is that of the value under the problem's keys, or of its key where that is at
        fault. What is missing is located at the key of the nearest mapping or list that should hold
        it. A problem that has a line stays as it is.
        """
        return located(problem, self._source, self._source_map())


def located(problem: Problem, source: Source, source_map: SourceMap) -> Problem:
    """Return *problem* with its location in *source*; one that has a line keeps it."""
    if problem.line is not None:
        return problem
    return source.locate(problem, source_map.find(problem.keys, at_key=problem.at_key))


def repeated_key(
    source: Source, keys: tuple[str | int, ...], start: int, first: SourceMap
) -> Problem:
    """Return the problem of a key, the last of *keys*, under which a value stands already.

    Args:
        source: The document.
        keys: The path of the repeated key.
        start: Index of the key.
        first: The value that stands under it already.
    """
    line = source.line(first.start if first.key_start is None else first.key_start)
    return source.problem(f"given twice, first on line {line}", start, keys=keys, at_key=True)


def find_unseen(text: str) -> re.Match[str] | None:
    """Return the first character that no document may hold, since it cannot be seen in one."""
    return _unseen_in(text).search(text)


def _unseen_in(text: str) -> re.Pattern[str]:
    # the set of all such characters takes milliseconds to compile, and most texts are ASCII
    if text.isascii():
        return re.compile(r"[^\t\n\r\x20-\x7e]")
    return re.compile(_UNSEEN_ALONE)
