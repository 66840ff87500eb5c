"""Where every key and value of a document stands in its text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from noether_core.errors import Problem
    from noether_core.structuring.documents.source import Source


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
