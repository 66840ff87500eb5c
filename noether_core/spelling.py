"""The name that a misspelt one was meant to be."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LEAST_LIKENESS = 0.6
# comparing takes time with the square of the length, and what is longer is no name
_LONGEST_NAME = 200


def nearest(name: object, names: Iterable[str]) -> str | None:
    """Return the one of *names* that *name* most resembles, or None where none is close."""
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        return None
    return _nearest(name, tuple(names))


@functools.lru_cache(maxsize=1024)
def _nearest(name: str, names: tuple[str, ...]) -> str | None:
    """Return the nearest name, and keep it: a document may make one mistake many times."""
    import difflib

    by_folded = {other.casefold(): other for other in names}
    spelt = name.casefold().replace("++", "_plusplus")  # as papers write what is better than one
    matches = difflib.get_close_matches(spelt, by_folded, n=1, cutoff=_LEAST_LIKENESS)
    return by_folded[matches[0]] if matches else None


def did_you_mean(name: object, names: Iterable[str]) -> str | None:
    """Return the suggestion ``did you mean '...'?``, or None where no name is close."""
    match = nearest(name, names)
    return None if match is None else f"did you mean {match!r}?"
