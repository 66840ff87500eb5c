"""JSON with the place of every value."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from noether_core.errors import ConfigError
from noether_core.structuring.documents.document import Spot, placed, repeated
from noether_core.structuring.documents.limits import (
    DEEPEST,
    MOST_PROBLEMS,
    TOO_DEEP,
    Refused,
    problems_in,
    whole_number,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from noether_core.errors import Problem
    from noether_core.structuring.documents.document import Source, Spot

_PIECE: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{},:]|[^\s\[\]{},:"]++', re.DOTALL)
"""Text, a mark, or a number or word. Text without an end reaches to the document's end, so that
time stays linear.
"""

_STEPS: Final = {"[": 1, "{": 1, "]": -1, "}": -1}


def too_deep_at(text: str) -> int | None:
    """Return the index of the first bracket that stands too deep in *text*, which need not be valid
    JSON.
    """
    if text.count("[") + text.count("{") <= DEEPEST:
        return None
    depth = 0
    for piece, index in _pieces(text):
        depth += _STEPS.get(piece, 0)
        if depth > DEEPEST:
            return index
    return None


def scan_json(source: Source) -> tuple[Spot, list[Problem]]:
    """Return the spot of a valid JSON document, and a problem for each repeated key."""
    scan = _Scan(source)
    return scan.value(*next(scan.pieces), ()), scan.repeats


def _pieces(text: str) -> Iterator[tuple[str, int]]:
    return ((found.group(), found.start()) for found in _PIECE.finditer(text))


class _Scan:
    """One pass over the pieces of a valid document."""

    def __init__(self, source: Source) -> None:
        self.pieces = _pieces(source.text)
        self.repeats: list[Problem] = []
        self._source = source

    def value(self, piece: str, index: int, keys: tuple[str | int, ...]) -> Spot:
        if piece == "{":
            return Spot(index, None, self._entries(keys))
        if piece == "[":
            return Spot(index, None, self._items(keys))
        return Spot(index)

    def _entries(self, keys: tuple[str | int, ...]) -> dict[str | int, Spot]:
        import json

        parts: dict[str | int, Spot] = {}
        for piece, index in self.pieces:
            if piece == "}":
                break
            if piece == ",":
                continue
            key = json.loads(piece)
            next(self.pieces)  # the colon
            spot = self.value(*next(self.pieces), (*keys, key))
            spot.key = index
            if parts.setdefault(key, spot) is not spot and len(self.repeats) < MOST_PROBLEMS:
                self.repeats.append(repeated(self._source, (*keys, key), index, parts[key]))
        return parts

    def _items(self, keys: tuple[str | int, ...]) -> dict[str | int, Spot]:
        parts: dict[str | int, Spot] = {}
        for piece, index in self.pieces:
            if piece == "]":
                break
            if piece != ",":
                parts[len(parts)] = self.value(piece, index, (*keys, len(parts)))
        return parts


_ENDED: Final = "the document has ended before this"
_PLAIN_WORDS: Final = {
    "Expecting value": "expected a value",
    "Expecting property name enclosed in double quotes": "expected a key in double quotes",
    "Expecting ',' delimiter": "expected ',' or the end of the mapping or list",
    "Expecting ':' delimiter": "expected ':' behind the key",
    "Unterminated string starting at": "the text that starts here does not end",
    "Invalid control character at": "a line break, or another control character, stands in text",
}


def read_json(source: Source) -> tuple[Any, Callable[[], Spot]]:
    """Return the data of a JSON document, and what finds its spots.

    Raises:
        ConfigError: If it is not JSON, or holds what plain data does not.
    """
    if (index := too_deep_at(source.text)) is not None:
        raise ConfigError([source.problem(TOO_DEEP, index)])
    repeating: list[dict[str, Any]] = []
    data = _loads(source, repeating)
    problems = problems_in(data)
    if problems or repeating:
        spot, repeats = scan_json(source)
        raise ConfigError([*repeats, *(placed(problem, source, spot) for problem in problems)])
    return data, lambda: scan_json(source)[0]


def _loads(source: Source, repeating: list[dict[str, Any]]) -> Any:
    """Return the data of a document; mappings that repeat a key are added to *repeating*."""
    import json

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        data = dict(pairs)
        if len(data) < len(pairs):
            repeating.append(data)
        return data

    try:
        return json.loads(
            source.text,
            object_pairs_hook=mapping,
            parse_int=whole_number,
            parse_float=_fraction,
            parse_constant=lambda name: Refused(f"JSON has no {name}"),
        )
    except json.JSONDecodeError as error:
        raise ConfigError([_complaint_of(source, error.msg, error.pos)]) from error


def _complaint_of(source: Source, problem: str, at: int) -> Problem:
    """Return what the standard library complains about, in plain words and with a way out where one
    is plain to see.
    """
    if problem == "Extra data":
        return source.problem(_ENDED, at)
    words = _PLAIN_WORDS.get(problem, f"{problem[0].lower()}{problem[1:]}")
    found = source.text[at : at + 1]
    if not found:
        words += ", and the text ends here"
    return source.problem(
        f"not valid JSON: {words}", at, suggestion=_way_out(source.text[:at].rstrip()[-1:], found)
    )


def _way_out(before: str, found: str) -> str | None:
    if found in ("/", "#"):
        return "JSON has no comments; write YAML"
    if found == "'":
        return "use double quotes"
    if before == "," and found in ("}", "]"):
        return "remove the ',' before it"
    return None


def _fraction(text: str) -> float | Refused:
    number = float(text)
    return number if math.isfinite(number) else Refused("a number too large for Python to hold")
