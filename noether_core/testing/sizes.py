"""Sizes of small calls: each a different prime, and none that an option has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43)
_FEWEST_TOKENS = 13
"""Room for the groups of an example: two that grow and two of four tokens."""


class Sizes(NamedTuple):
    """How large a small call is."""

    batch: int
    queries: int
    """Tokens that ask, where they are others than those that are read."""

    tokens: int
    more_tokens: int
    """Another number of tokens."""


def sizes_unlike(taken: Iterable[object]) -> Sizes:
    """Return sizes that are none of *taken*, so that axes which a module mixes up do not fit."""
    used = {value for value in taken if isinstance(value, int)}
    free = [prime for prime in _PRIMES if prime not in used]
    batch, queries = free[:2]
    tokens, more = [prime for prime in free if prime >= _FEWEST_TOKENS and prime != queries][:2]
    return Sizes(batch, queries, tokens, more)
