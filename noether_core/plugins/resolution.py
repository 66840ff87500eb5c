"""What a type means in the end, said in a sentence, and the errors where it means no one plugin."""

from __future__ import annotations

import sys
from collections import namedtuple
from collections.abc import Iterator, Sequence

from noether_core.errors import AmbiguousTypeError, ConfigError, Problem, UnknownTypeError, shown
from noether_core.plugins.catalogue import Candidate, Catalogue, candidates
from noether_core.plugins.imports import file_of
from noether_core.plugins.metadata import CORE, VARIANTS, EntryPoint
from noether_core.spelling import did_you_mean, nearest

_MOST_NAMES = 20
"""Names of types that one sentence lists."""

_SUFFIXES = (".yaml", ".yml", ".toml", ".json")
"""How names of files end that hold configs."""


def unknown_type(type: str, catalogue: Catalogue) -> UnknownTypeError:
    """Return the error that nothing provides *type*."""
    installed = catalogue.types()
    bare = type.rpartition(":")[2]
    blocked = [entry.qualified_name for entry in catalogue.blocked() if entry.name == bare]
    if blocked:
        hint = f"{' and '.join(blocked)} is blocked."
    else:
        qualified = [entry.qualified_name for entry in catalogue.providers()]
        hint = did_you_mean(type, [*installed, *qualified]) or ""

    hints = (
        hint,
        *_hints_on_kind(type, catalogue, is_hinted=bool(hint)),
        *_hints_on_absence(type, catalogue),
        installed_types(catalogue),
    )
    name = shown(type) if catalogue.kind is VARIANTS else f"the {catalogue.kind.noun} {shown(type)}"
    problem = Problem(
        keys=("type",),
        message=f"{name} is not installed",
        value=type,
        suggestion=" ".join(filter(None, hints)),
    )
    return UnknownTypeError(type, installed, [problem])


def _hints_on_kind(type: str, catalogue: Catalogue, *, is_hinted: bool) -> Iterator[str]:
    """Yield of which other kind there is a plugin of that type, or of one that reads like it."""
    for other in catalogue.kinds():
        if other.kind is catalogue.kind:
            continue
        if other.has(type):
            yield f"{shown(type)} is {other.kind.one}, and {catalogue.kind.one} is wanted here."
        elif not is_hinted and (near := nearest(type, other.types())):
            yield f"there is {other.kind.one} {near!r}."


def _hints_on_absence(type: str, catalogue: Catalogue) -> Iterator[str]:
    """Yield what kept a type from being known in this process, as far as can be known."""
    if type.lower().endswith(_SUFFIXES):
        yield f"it looks like a file, which load({shown(type)}) reads."
    for fault in catalogue.faults:
        if fault.origin in {"NOETHER_REGISTER", CORE}:
            yield f"{fault.origin}: {fault.reason}."
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        yield (
            "This is a worker process: what another process registered is not known here. Set "
            f"NOETHER_REGISTER to a module that registers {shown(type)} when it is imported."
        )


def ambiguous_type(type: str, providers: Sequence[EntryPoint]) -> AmbiguousTypeError:
    """Return the error that several packages provide *type*."""
    spellings = [entry.qualified_name for entry in providers]
    provided_by = " and ".join(entry.provider for entry in providers)
    problem = Problem(
        keys=("type",),
        message=f"{shown(type)} is provided by {provided_by}",
        value=type,
        suggestion=f"write {' or '.join(map(repr, spellings))}",
    )
    return AmbiguousTypeError(type, spellings, [problem])


def owners(option: str, types: Sequence[str]) -> str | None:
    """Return the sentence that names the types an option belongs to; None where it has none."""
    return f"{option!r} is an option of {_first_of(types)}" if types else None


def installed_types(catalogue: Catalogue) -> str:
    """Return the sentence that lists what is installed."""
    subject = "Installed" if catalogue.kind is VARIANTS else f"Installed {catalogue.kind.noun}s"
    return f"{subject}: {_first_of(catalogue.types()) or 'none'}."


def _first_of(types: Sequence[str]) -> str:
    names = ", ".join(types[:_MOST_NAMES])
    return f"{names} and {len(types) - _MOST_NAMES} more" if len(types) > _MOST_NAMES else names


# a namedtuple, as candidates are
class Explanation(namedtuple("Explanation", "type candidates means resolves sentence")):  # noqa: PYI024
    """What a type means, and why."""

    __slots__ = ()

    type: str
    """The type, bare or qualified."""

    candidates: tuple[Candidate, ...]
    """Every plugin that it may mean."""

    means: str | None
    """The qualified name of the one that it means; None where it means none."""

    resolves: bool
    """Whether there is one, and its code is there too.

    It may still be found broken when it is imported.
    """

    sentence: str
    """All of that for a reader, with the way out."""


def explain(type: str, known: Catalogue) -> Explanation:
    """Return what *type* means by what is *known*; no plugin is imported."""
    found = candidates(known, type)
    meant = next((candidate for candidate in found if candidate.is_meant), None)
    if meant is None:
        return Explanation(type, found, None, False, _why_none(type, known))

    entry = meant.entry
    whose = f"of {entry.provider}" if entry.origin else "registered in this process"
    because = f", {meant.description}" if meant.reason else ""
    sentence = f"{shown(type)} is {entry.qualified_name} {whose}{because}"
    try:
        file_of(entry.value)
    except ImportError as error:
        reason = f"{sentence}, and cannot be used: {error}."
        return Explanation(type, found, entry.qualified_name, False, reason)
    return Explanation(type, found, entry.qualified_name, True, f"{sentence}.")


def _why_none(type: str, known: Catalogue) -> str:
    """Return why *type* means no plugin."""
    rivals = known.chosen(type)
    if rivals:
        sentence = _sentence_of(ambiguous_type(type, rivals))
        return f"{sentence}, or name one of them in NOETHER_PREFER."
    return _sentence_of(unknown_type(type, known))


def _sentence_of(error: ConfigError) -> str:
    (problem,) = error.problems
    return f"{problem.message}; {problem.suggestion}"
