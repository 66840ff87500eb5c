"""Letters for rows: two rows are tied where they have one in common."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from noether_plugins.comparison.record import Row

_MOST = 26


def tie_letters(rows: Sequence[Row]) -> dict[str, str]:
    """Return for each ranked row its letters, in the order of the ranks.

    The compact display of Piepho, An Algorithm for a Letter-Based Representation of All-Pairwise
    Comparisons, 2004: a letter for each largest set of rows that are all tied with each other.
    Empty where the letters of the alphabet do not do.
    """
    ranked = [row for row in rows if row.rank is not None]
    names = {row.name for row in ranked}
    tied = {row.name: {*row.tied_with} & names for row in ranked}
    place = {row.name: number for number, row in enumerate(ranked)}
    cliques = _cliques(tied)
    if len(cliques) > _MOST:
        return {}
    cliques.sort(key=lambda clique: sorted(place[name] for name in clique))
    letters = {row.name: "" for row in ranked}
    for number, clique in enumerate(cliques):
        for name in clique:
            letters[name] += chr(ord("a") + number)
    return letters


def _cliques(tied: dict[str, set[str]]) -> list[frozenset[str]]:
    """Return the largest sets of rows that are all tied (Bron & Kerbosch, 1973, with pivots)."""
    found: list[frozenset[str]] = []

    def extend(members: AbstractSet[str], candidates: set[str], excluded: set[str]) -> None:
        if len(found) > _MOST:
            return
        if not candidates and not excluded:
            found.append(frozenset(members))
            return
        pivot = max(sorted(candidates | excluded), key=lambda name: len(tied[name] & candidates))
        for name in sorted(candidates - tied[pivot]):
            extend({*members, name}, candidates & tied[name], excluded & tied[name])
            candidates = candidates - {name}
            excluded = excluded | {name}

    extend(frozenset(), set(tied), set())
    return found
