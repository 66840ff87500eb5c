"""What a type means in the end, in a sentence."""

from __future__ import annotations

from collections import namedtuple

from noether_core.errors import ConfigError, shown
from noether_core.plugins.candidates import Candidate, candidates
from noether_core.plugins.catalogue import Catalogue
from noether_core.plugins.homes import file_of
from noether_core.plugins.messages import ambiguous_type, unknown_type


class Verdict(namedtuple("Verdict", "type candidates means resolves sentence")):  # noqa: PYI024  as candidates are
    """What a type means, and why."""

    __slots__ = ()

    type: str
    """The type that was asked for, bare or qualified."""

    candidates: tuple[Candidate, ...]
    """Every plugin that it may mean."""

    means: str | None
    """The qualified name of the one that it means; None where it means none."""

    resolves: bool
    """Whether there is one, and its code is there too. It may still be found broken when it is
    imported.
    """

    sentence: str
    """All of that for a reader, with the way out."""


def verdict_on(type: str, known: Catalogue) -> Verdict:
    """Return what *type* means by what is *known*; no plugin is imported."""
    found = candidates(known, type)
    meant = next((candidate for candidate in found if candidate.is_meant), None)
    if meant is None:
        return Verdict(type, found, None, False, _refusal(type, known))
    entry = meant.entry
    whose = f"of {entry.provider}" if entry.origin else "registered in this process"
    because = f", {meant.told}" if meant.reason else ""
    sentence = f"{shown(type)} is {entry.qualified_name} {whose}{because}"
    try:
        file_of(entry.value)
    except ImportError as error:
        return Verdict(
            type, found, entry.qualified_name, False, f"{sentence}, and cannot be used: {error}."
        )
    return Verdict(type, found, entry.qualified_name, True, f"{sentence}.")


def _refusal(type: str, known: Catalogue) -> str:
    """Return why *type* means no plugin."""
    rivals = known.chosen(type)
    if rivals:
        return f"{_told(ambiguous_type(type, rivals))}, or name one of them in NOETHER_PREFER."
    return _told(unknown_type(type, known))


def _told(error: ConfigError) -> str:
    (problem,) = error.problems
    return f"{problem.message}; {problem.suggestion}"
