"""Which plugins there are, and what becomes of each: chosen, preferred, ambiguous or blocked.

Known by metadata alone. Commands that only name what is installed import neither errors nor attrs
for it, which take longer than all else here.
"""

from __future__ import annotations

import os
from collections import namedtuple
from collections.abc import Iterable, Iterator, Mapping, Sequence

from noether_core.plugins.metadata import (
    COMMAND,
    EXTENSION,
    KINDS,
    VARIANTS,
    EntryPoint,
    Fault,
    Index,
    Kind,
    canonical,
    scan,
)


class Installation:
    """The plugins of all kinds that are installed, and those added in this process.

    Args:
        index: What is installed; read from the metadata on ``sys.path`` on first use where it is
            None.
    """

    def __init__(self, index: Index | None = None) -> None:
        self._fixed = index
        self._scanned = index
        self._added: dict[tuple[str, str], EntryPoint] = {}

    @property
    def index(self) -> Index:
        """What the installed distributions announce; scanned once."""
        if self._scanned is None:
            self._scanned = scan()
        return self._scanned

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What in the metadata of installed distributions could not be read."""
        return self.index.faults

    def refresh(self) -> None:
        """Look again at what is installed."""
        self._scanned = self._fixed

    def add(self, entry: EntryPoint) -> EntryPoint | None:
        """Add a plugin that is not installed; return the one of its name that gives way, if any."""
        key = entry.group, entry.qualified_name
        replaced = self._added.get(key)
        self._added[key] = entry
        return replaced

    def of(self, group: str) -> tuple[EntryPoint, ...]:
        """Return the plugins of a group, those that were added last."""
        added = [entry for entry in self._added.values() if entry.group == group]
        return (*self.index.of(group), *added)


class Catalogue:
    """The plugins of one kind, of attention variants unless told otherwise; nothing is imported.

    Args:
        block: Plugins to leave out, each as ``distribution:type`` or ``distribution``. What the
            environment variable ``NOETHER_BLOCK`` names, separated by commas, is left out as well.
        prefer: Plugins that a bare type means where several provide it, likewise, the first of them
            before all others. What ``NOETHER_PREFER`` names comes after them.
        index: What is installed; read from the metadata on ``sys.path`` on first use where it is
            None.
    """

    def __init__(
        self, *, block: Iterable[str] = (), prefer: Iterable[str] = (), index: Index | None = None
    ) -> None:
        self.kind = VARIANTS
        self._block = _read_setting(block, "block", "NOETHER_BLOCK")
        self._prefer = _read_setting(prefer, "prefer", "NOETHER_PREFER")
        self._installation = Installation(index)

    def of_kind(self, kind: Kind) -> Catalogue:
        """Return the plugins of another kind: of the same installation, by the same settings."""
        if kind is self.kind:
            return self
        other = Catalogue.__new__(Catalogue)
        other.kind = kind
        other.share(self)
        return other

    def share(self, other: Catalogue) -> None:
        """Look at the same installation by the same settings as *other* from now on."""
        self._block = other._block
        self._prefer = other._prefer
        self._installation = other._installation

    def kinds(self) -> tuple[Catalogue, ...]:
        """Return the plugins of every kind, attention variants first."""
        return tuple(self.of_kind(kind) for kind in KINDS.values())

    @property
    def index(self) -> Index:
        """What the installed distributions announce; scanned once."""
        return self._installation.index

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What in the metadata of installed distributions could not be read."""
        return self._installation.faults

    @property
    def blocking(self) -> Mapping[str, str]:
        """Names of what to leave out, and where each stands: ``block`` or ``NOETHER_BLOCK``."""
        return self._block

    @property
    def preferring(self) -> Mapping[str, str]:
        """Names of what to prefer, the first before all others, likewise."""
        return self._prefer

    def refresh(self) -> None:
        """Look again at what is installed."""
        self._installation.refresh()

    def add(self, entry: EntryPoint) -> EntryPoint | None:
        """Add a plugin that is not installed; return the one of its name that gives way, if any."""
        return self._installation.add(entry)

    def types(self) -> tuple[str, ...]:
        """Return the names of all types, sorted."""
        return tuple(sorted({entry.name for entry in self.providers()}))

    def providers(self, type: str | None = None) -> tuple[EntryPoint, ...]:
        """Return the plugins of a type, bare or qualified, or those of all types."""
        entries = self._unblocked(self.kind.group)
        return entries if type is None else _matching(type, entries)

    def has(self, type: str) -> bool:
        """Return whether a plugin of *type*, bare or qualified, is there, be it blocked or not."""
        return bool(_matching(type, self._installation.of(self.kind.group)))

    def chosen(self, type: str) -> tuple[EntryPoint, ...]:
        """Return the one plugin that *type*, bare or qualified, means.

        Several are returned where nothing decides between them.
        """
        entries = self.providers(type)
        preferred = self.preferred(entries)
        return entries if preferred is None else (preferred,)

    def preferred(self, entries: Sequence[EntryPoint]) -> EntryPoint | None:
        """Return the one of several plugins of one type that is preferred, if any is."""
        if len(entries) < 2:  # noqa: PLR2004  no choice
            return None
        for name in self._prefer:
            for entry in entries:
                if name in setting_names(entry):
                    return entry
        return None

    def commands(self) -> tuple[EntryPoint, ...]:
        """Return the plugins that add a command."""
        return self._unblocked(COMMAND)

    def extensions(self) -> tuple[EntryPoint, ...]:
        """Return the plugins that take part in building, by name."""
        return tuple(sorted(self._unblocked(EXTENSION), key=lambda entry: entry.qualified_name))

    def blocked(self) -> tuple[EntryPoint, ...]:
        """Return the plugins of types that are installed and left out."""
        entries = self._installation.of(self.kind.group)
        return tuple(entry for entry in entries if self.is_blocked(entry))

    def is_blocked(self, entry: EntryPoint) -> bool:
        """Return whether a plugin is left out."""
        return any(name in self._block for name in setting_names(entry))

    def _unblocked(self, group: str) -> tuple[EntryPoint, ...]:
        entries = self._installation.of(group)
        return tuple(entry for entry in entries if not self.is_blocked(entry))


def _matching(type: str, entries: Iterable[EntryPoint]) -> tuple[EntryPoint, ...]:
    """Return those of *entries* that *type*, bare or qualified, may mean."""
    distribution, colon, name = type.rpartition(":")
    wanted = canonical(distribution)
    return tuple(
        entry
        for entry in entries
        if entry.name == name and (not colon or entry.distribution == wanted)
    )


def setting_names(entry: EntryPoint) -> tuple[str, str]:
    """Return the names by which settings block and prefer a plugin."""
    return entry.distribution, entry.qualified_name


def _read_setting(given: Iterable[str], argument: str, variable: str) -> dict[str, str]:
    """Return names of plugins, each with what names it: an argument, or an environment variable.

    Those of the argument come first.
    """
    given = (given,) if isinstance(given, str) else given
    names = [(name, argument) for name in given]
    names += [(name, variable) for name in os.environ.get(variable, "").split(",")]
    sources: dict[str, str] = {}
    for name, source in names:
        if name.strip():
            sources.setdefault(_canonical_name(name), source)
    return sources


def _canonical_name(name: str) -> str:
    distribution, colon, bare = name.strip().partition(":")
    return canonical(distribution) + colon + bare


CHOSEN = "chosen"
PREFERRED = "preferred"
PASSED_OVER = "passed over"
AMBIGUOUS = "ambiguous"
BLOCKED = "blocked"
SHADOWED = "shadowed"

_PREPOSITIONS = {
    PREFERRED: "by",
    PASSED_OVER: "for",
    AMBIGUOUS: "with",
    BLOCKED: "by",
    SHADOWED: "by",
}


# a namedtuple, as quick to import as the index
class Candidate(namedtuple("Candidate", "entry state reason")):  # noqa: PYI024
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
    def description(self) -> str:
        """The state and its reason: ``blocked by NOETHER_BLOCK=acme-flow``."""
        if not self.reason:
            return str(self.state)
        return f"{self.state} {_PREPOSITIONS[self.state]} {self.reason}"


def candidates(known: Catalogue, type: str | None = None) -> tuple[Candidate, ...]:
    """Return the plugins that *type*, bare or qualified, may mean, or those of all types.

    Nothing is imported. Plugins that are blocked come after those that are not, and copies that
    another copy of their distribution hides come last.
    """

    def of_type(entries: Iterable[EntryPoint]) -> Iterable[EntryPoint]:
        return entries if type is None else _matching(type, entries)

    found: list[Candidate] = []
    rivals: dict[str, list[EntryPoint]] = {}
    for entry in of_type(known.providers()):
        rivals.setdefault(entry.name, []).append(entry)
    for entries in rivals.values():
        found += _rated(entries, known)

    for entry in of_type(known.blocked()):
        found.append(Candidate(entry, BLOCKED, _setting(entry, known.blocking)))

    group = known.kind.group
    visible = {entry.qualified_name: entry for entry in known.index.of(group)}
    hidden = [entry for entry in known.index.shadowed if entry.group == group]
    for entry in of_type(hidden):
        reason = _what_hides(entry, visible[entry.qualified_name])
        found.append(Candidate(entry, SHADOWED, reason))
    return tuple(found)


def _rated(entries: Sequence[EntryPoint], known: Catalogue) -> Iterator[Candidate]:
    """Yield what becomes of the plugins of one type, none of which is blocked."""
    preferred = known.preferred(entries)
    for entry in entries:
        if len(entries) == 1:
            yield Candidate(entry, CHOSEN, "")
        elif preferred is None:
            others = [other.qualified_name for other in entries if other is not entry]
            yield Candidate(entry, AMBIGUOUS, " and ".join(others))
        elif entry is preferred:
            yield Candidate(entry, PREFERRED, _setting(entry, known.preferring))
        else:
            yield Candidate(entry, PASSED_OVER, preferred.qualified_name)


def _setting(entry: EntryPoint, sources: Mapping[str, str]) -> str:
    """Return what names a plugin first, and where: ``NOETHER_BLOCK=acme-flow``."""
    names = setting_names(entry)
    return next(f"{source}={name}" for name, source in sources.items() if name in names)


def _what_hides(entry: EntryPoint, visible: EntryPoint) -> str:
    """Return where the plugin is that goes before *entry*, which has the same name."""
    if entry.origin == visible.origin:
        return f"{visible.value}, which stands above it"
    return f"{visible.version} in {os.path.dirname(visible.origin)}"
