"""Which plugins there are for a type, by metadata alone and less those that are blocked."""

from __future__ import annotations

import os
from collections.abc import Iterable

from noether_core.plugins.index import ATTENTION, COMMAND, EXTENSION, EntryPoint, Fault, Index, canonical, scan


class Catalogue:
    """The plugins that are installed, and those added in this process; nothing is ever imported.

    Args:
        block: Plugins to leave out, each as ``distribution:type`` or ``distribution``. What the environment variable
            ``NOETHER_BLOCK`` names, separated by commas, is left out as well.
        prefer: Plugins that a bare type means where several provide it, likewise, the first of them before all others.
            What ``NOETHER_PREFER`` names comes after them.
        index: What is installed; read from the metadata on ``sys.path`` on first use where it is None.
    """

    def __init__(self, *, block: Iterable[str] = (), prefer: Iterable[str] = (), index: Index | None = None) -> None:
        self._block = _names(block, "NOETHER_BLOCK")
        self._prefer = _names(prefer, "NOETHER_PREFER")
        self._fixed = index
        self._scanned = index
        self._added: dict[str, EntryPoint] = {}

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

    def add(self, entry: EntryPoint) -> None:
        """Add a plugin that is not installed; one of the same qualified name gives way."""
        self._added[entry.qualified_name] = entry

    def types(self) -> tuple[str, ...]:
        """Return the names of all types, sorted."""
        return tuple(sorted({entry.name for entry in self.providers()}))

    def providers(self, type: str | None = None) -> tuple[EntryPoint, ...]:
        """Return the plugins of a type, bare or qualified, or those of all types."""
        entries = tuple(entry for entry in self._all_of(ATTENTION) if not self.is_blocked(entry))
        if type is None:
            return entries
        distribution, colon, name = type.rpartition(":")
        wanted = canonical(distribution)
        return tuple(entry for entry in entries if entry.name == name and (not colon or entry.distribution == wanted))

    def chosen(self, type: str) -> tuple[EntryPoint, ...]:
        """Return the one plugin that *type*, bare or qualified, means; several where nothing decides between them."""
        entries = self.providers(type)
        if len(entries) > 1:
            for name in self._prefer:
                if preferred := [entry for entry in entries if name in _names_of(entry)]:
                    return tuple(preferred)
        return entries

    def commands(self) -> tuple[EntryPoint, ...]:
        """Return the plugins that add a command."""
        return tuple(entry for entry in self._all_of(COMMAND) if not self.is_blocked(entry))

    def extensions(self) -> tuple[EntryPoint, ...]:
        """Return the plugins that take part in building, by name."""
        entries = (entry for entry in self._all_of(EXTENSION) if not self.is_blocked(entry))
        return tuple(sorted(entries, key=lambda entry: entry.qualified_name))

    def blocked(self) -> tuple[EntryPoint, ...]:
        """Return the plugins of types that are installed and left out."""
        return tuple(entry for entry in self._all_of(ATTENTION) if self.is_blocked(entry))

    def is_blocked(self, entry: EntryPoint) -> bool:
        """Return whether a plugin is left out."""
        return any(name in self._block for name in _names_of(entry))

    def _all_of(self, group: str) -> tuple[EntryPoint, ...]:
        return (*self.index.of(group), *(entry for entry in self._added.values() if entry.group == group))


def _names(given: Iterable[str], variable: str) -> dict[str, None]:
    """Return the names of plugins that are given, then those of an environment variable, each in one spelling."""
    given = (given,) if isinstance(given, str) else given
    names = (*given, *os.environ.get(variable, "").split(","))
    return dict.fromkeys(_canonical_name(name) for name in names if name.strip())


def _names_of(entry: EntryPoint) -> tuple[str, str]:
    return entry.distribution, entry.qualified_name


def _canonical_name(name: str) -> str:
    distribution, colon, bare = name.strip().partition(":")
    return canonical(distribution) + colon + bare
