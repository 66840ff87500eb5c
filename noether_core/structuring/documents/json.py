"""JSON: its data, and the location of every value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from noether_core.errors import MOST_PROBLEMS, ConfigError
from noether_core.structuring.documents.document import (
    MOST_VALUES,
    SourceMap,
    located,
    repeated_key,
)
from noether_core.structuring.documents.limits import (
    DEEPEST,
    TOO_DEEP,
    TOO_MANY,
    Refused,
    problems_in,
    whole_number,
)

if TYPE_CHECKING:
    from noether_core.errors import Problem
    from noether_core.structuring.documents.document import Source

# Text, a mark, or a number or word. Text without an end reaches to the document's end, so that time
# stays linear.
_LEXEME: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{},:]|[^\s\[\]{},:"]++', re.DOTALL)

_DEPTHS: Final = {"[": 1, "{": 1, "]": -1, "}": -1}
_COUNTS: Final = {"]": 0, "}": 0, ",": 0, ":": -1}  # what stands before a colon is no value

_WORDINGS: Final = {
    "Expecting value": "expected a value",
    "Expecting property name enclosed in double quotes": "expected a key in double quotes",
    "Expecting ',' delimiter": "expected ',' or the end of the mapping or list",
    "Expecting ':' delimiter": "expected ':' behind the key",
    "Unterminated string starting at": "the text that starts here does not end",
    "Invalid control character at": "a line break, or another control character, stands in text",
}


def read_json(source: Source) -> tuple[Any, Callable[[], SourceMap]]:
    """Return the data of a JSON document, and what finds its source map.

    Raises:
        ConfigError: If it is not JSON, or holds what plain data does not.
    """
    # the standard library would end in a RecursionError that knows no location, or take long
    _refuse_what_is_too_large(source)

    repeating: list[dict[str, Any]] = []
    data = _loads(source, repeating)
    problems = problems_in(data)
    if problems or repeating:
        source_map, repeats = scan_json(source)
        raise ConfigError([*repeats, *(located(found, source, source_map) for found in problems)])
    return data, lambda: scan_json(source)[0]


def _refuse_what_is_too_large(source: Source) -> None:
    """Raise what stands too deep, or is a value too many; the text need not be valid JSON."""
    brackets = source.text.count("[") + source.text.count("{")
    if brackets <= DEEPEST and source.text.count(",") < MOST_VALUES - brackets:
        return
    depth = 0
    values = 0
    for lexeme, index in _lexemes(source.text):
        depth += _DEPTHS.get(lexeme, 0)
        values += _COUNTS.get(lexeme, 1)
        if depth > DEEPEST:
            raise ConfigError([source.problem(TOO_DEEP, index)])
        if values > MOST_VALUES:
            raise ConfigError([source.problem(TOO_MANY, index)])


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
        raise ConfigError([_syntax_problem(source, error.msg, error.pos)]) from error


def _fraction(text: str) -> float | Refused:
    number = float(text)
    return number if math.isfinite(number) else Refused("a number too large for Python to hold")


def _syntax_problem(source: Source, words: str, index: int) -> Problem:
    """Return the problem that the standard library reports, in our words."""
    if words == "Extra data":
        return source.problem("the document has ended before this", index)
    message = _WORDINGS.get(words, f"{words[0].lower()}{words[1:]}")
    found = source.text[index : index + 1]
    if not found:
        message += ", and the text ends here"
    way_out = _way_out(source.text[:index].rstrip()[-1:], found)
    return source.problem(f"not valid JSON: {message}", index, suggestion=way_out)


def _way_out(before: str, found: str) -> str | None:
    """Return what to do, where the characters around the fault make that plain."""
    if found in ("/", "#"):
        return "JSON has no comments; write YAML"
    if found == "'":
        return "use double quotes"
    if before == "," and found in ("}", "]"):
        return "remove the ',' before it"
    return None


def scan_json(source: Source) -> tuple[SourceMap, list[Problem]]:
    """Return the source map of a valid JSON document, and a problem for each repeated key."""
    scan = _Scan(source)
    return scan.value(*next(scan.lexemes), ()), scan.repeats


def _lexemes(text: str) -> Iterator[tuple[str, int]]:
    return ((found.group(), found.start()) for found in _LEXEME.finditer(text))


class _Scan:
    """One pass over the lexemes of a valid document."""

    def __init__(self, source: Source) -> None:
        self.lexemes = _lexemes(source.text)
        self.repeats: list[Problem] = []
        self._source = source

    def value(self, lexeme: str, index: int, keys: tuple[str | int, ...]) -> SourceMap:
        if lexeme == "{":
            return SourceMap(index, None, self._entries(keys))
        if lexeme == "[":
            return SourceMap(index, None, self._items(keys))
        return SourceMap(index)

    def _entries(self, keys: tuple[str | int, ...]) -> dict[str | int, SourceMap]:
        import json

        parts: dict[str | int, SourceMap] = {}
        for lexeme, index in self.lexemes:
            if lexeme == "}":
                break
            if lexeme == ",":
                continue
            key = json.loads(lexeme)
            next(self.lexemes)  # the colon
            source_map = self.value(*next(self.lexemes), (*keys, key))
            source_map.key_start = index

            first = parts.setdefault(key, source_map)
            if first is not source_map and len(self.repeats) <= MOST_PROBLEMS:
                self.repeats.append(repeated_key(self._source, (*keys, key), index, first))
        return parts

    def _items(self, keys: tuple[str | int, ...]) -> dict[str | int, SourceMap]:
        parts: dict[str | int, SourceMap] = {}
        for lexeme, index in self.lexemes:
            if lexeme == "]":
                break
            if lexeme != ",":
                parts[len(parts)] = self.value(lexeme, index, (*keys, len(parts)))
        return parts
