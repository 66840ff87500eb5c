"""Why a type leads to no plugin, and what to write instead."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from noether_core.errors import AmbiguousTypeError, Problem, UnknownTypeError, shown
from noether_core.plugins.catalogue import Catalogue
from noether_core.plugins.index import EntryPoint
from noether_core.spelling import did_you_mean

_MOST_NAMES = 20


def unknown_type(type: str, catalogue: Catalogue) -> UnknownTypeError:
    """Return the error that nothing provides *type*."""
    installed = catalogue.types()
    blocked = [
        entry.qualified_name
        for entry in catalogue.blocked()
        if entry.name == type.rpartition(":")[2]
    ]
    spellings = (*installed, *(entry.qualified_name for entry in catalogue.providers()))
    hint = f"{' and '.join(blocked)} is blocked." if blocked else did_you_mean(type, spellings)
    hints = (hint, *_of_registering(type, catalogue), installed_types(installed))
    problem = Problem(
        keys=("type",),
        message=f"{shown(type)} is not installed",
        value=type,
        suggestion=" ".join(filter(None, hints)),
    )
    return UnknownTypeError(type, installed, [problem])


def _of_registering(type: str, catalogue: Catalogue) -> Iterator[str]:
    """Yield what kept a type from being registered in this process, as far as that can be known."""
    for fault in catalogue.faults:
        if fault.origin == "NOETHER_REGISTER":
            yield f"NOETHER_REGISTER: {fault.reason}."
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        yield (
            "This is a worker process: what another process registered is not known here. Set NOETHER_REGISTER to a "
            f"module that registers {shown(type)} when it is imported."
        )


def ambiguous_type(type: str, providers: Sequence[EntryPoint]) -> AmbiguousTypeError:
    """Return the error that several packages provide *type*."""
    spellings = [entry.qualified_name for entry in providers]
    problem = Problem(
        keys=("type",),
        message=f"{shown(type)} is provided by {' and '.join(entry.provider for entry in providers)}",
        value=type,
        suggestion=f"write {' or '.join(map(repr, spellings))}",
    )
    return AmbiguousTypeError(type, spellings, [problem])


def owners(option: str, types: Sequence[str]) -> str | None:
    """Return the sentence that says which types an option belongs to, or None where it belongs to
    none.
    """
    more = f" and {len(types) - _MOST_NAMES} more" if len(types) > _MOST_NAMES else ""
    return f"{option!r} is an option of {', '.join(types[:_MOST_NAMES])}{more}" if types else None


def installed_types(types: Sequence[str]) -> str:
    """Return the sentence that lists what is installed."""
    more = f" and {len(types) - _MOST_NAMES} more" if len(types) > _MOST_NAMES else ""
    return f"Installed: {', '.join(types[:_MOST_NAMES]) or 'none'}{more}."
