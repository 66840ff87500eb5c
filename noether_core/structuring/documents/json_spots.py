"""Where every key and value of a JSON document stands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from noether_core.structuring.documents.plain import DEEPEST, MOST_PROBLEMS
from noether_core.structuring.documents.spots import Spot, repeated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from noether_core.errors import Problem
    from noether_core.structuring.documents.source import Source

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
