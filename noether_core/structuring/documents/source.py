"""A document's text, and problems placed in it by character."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from typing import Any, Final

import attrs

from noether_core.errors import Problem

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
