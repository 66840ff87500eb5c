"""What speaks for and against each plugin that a type may mean."""

from __future__ import annotations

import os
from collections import namedtuple
from collections.abc import Iterable, Iterator, Mapping, Sequence

from noether_core.plugins.catalogue import Catalogue, entries_of, names_of
from noether_core.plugins.index import ATTENTION, EntryPoint

CHOSEN = "chosen"
PREFERRED = "preferred"
PASSED_OVER = "passed over"
AMBIGUOUS = "ambiguous"
BLOCKED = "blocked"
SHADOWED = "shadowed"

_LINKS = {PREFERRED: "by", PASSED_OVER: "for", AMBIGUOUS: "with", BLOCKED: "by", SHADOWED: "by"}


class Candidate(namedtuple("Candidate", "entry state reason")):  # noqa: PYI024  as quick to import as the index
    """A plugin that a type may mean, and what becomes of it."""

    __slots__ = ()

    entry: EntryPoint
    """The plugin."""

    state: str
    """``chosen``, ``preferred``, ``passed over``, ``ambiguous``, ``blocked`` or ``shadowed``."""

    reason: str
    """By what, for what or with what it is so: ``NOETHER_BLOCK=acme-flow``."""

    @property
    def is_meant(self) -> bool:
        """Whether it is the plugin that the type means."""
        return self.state in {CHOSEN, PREFERRED}

    @property
    def told(self) -> str:
        """The state and its reason: ``blocked by NOETHER_BLOCK=acme-flow``."""
        return (
            f"{self.state} {_LINKS[self.state]} {self.reason}" if self.reason else str(self.state)
        )


def candidates(known: Catalogue, type: str | None = None) -> tuple[Candidate, ...]:
    """Return the plugins that *type*, bare or qualified, may mean, or those of all types; nothing
    is imported.

    Plugins that are blocked come after those that are not, and copies that another copy of their
    distribution hides come last.
    """

    def of_type(entries: Iterable[EntryPoint]) -> Iterable[EntryPoint]:
        return entries if type is None else entries_of(type, entries)

    rivals: dict[str, list[EntryPoint]] = {}
    for entry in of_type(known.providers()):
        rivals.setdefault(entry.name, []).append(entry)
    counting = {entry.qualified_name: entry for entry in known.index.of(ATTENTION)}
    hidden = [entry for entry in known.index.shadowed if entry.group == ATTENTION]
    return (
        *(candidate for entries in rivals.values() for candidate in _judged(entries, known)),
        *(
            Candidate(entry, BLOCKED, _setting(entry, known.blocking))
            for entry in of_type(known.blocked())
        ),
        *(
            Candidate(entry, SHADOWED, _shade(entry, counting[entry.qualified_name]))
            for entry in of_type(hidden)
        ),
    )


def _judged(entries: Sequence[EntryPoint], known: Catalogue) -> Iterator[Candidate]:
    """Yield what becomes of the plugins of one type, none of which is blocked."""
    preferred = known.preferred(entries)
    for entry in entries:
        if len(entries) == 1:
            yield Candidate(entry, CHOSEN, "")
        elif preferred is None:
            others = " and ".join(other.qualified_name for other in entries if other is not entry)
            yield Candidate(entry, AMBIGUOUS, others)
        elif entry is preferred:
            yield Candidate(entry, PREFERRED, _setting(entry, known.preferring))
        else:
            yield Candidate(entry, PASSED_OVER, preferred.qualified_name)


def _setting(entry: EntryPoint, named: Mapping[str, str]) -> str:
    """Return what names a plugin first, where it stands: ``NOETHER_BLOCK=acme-flow``."""
    return next(f"{place}={name}" for name, place in named.items() if name in names_of(entry))


def _shade(entry: EntryPoint, counting: EntryPoint) -> str:
    """Return which plugin counts in the place of *entry*, of the same name in another copy of its
    distribution.
    """
    if entry.origin == counting.origin:
        return f"{counting.value}, which stands above it"
    return f"{counting.version} in {os.path.dirname(counting.origin)}"
