"""Which plugins there are for a type, by metadata alone and less those that are blocked."""

from __future__ import annotations

import os
from collections.abc import Iterable

from noether_core.plugins.index import ATTENTION, COMMAND, EntryPoint, Fault, Index, canonical, scan


class Catalogue:
    """The plugins that are installed, and those added in this process; nothing is ever imported.

    Args:
        block: Plugins to leave out, each as ``distribution:type`` or ``distribution``. What the environment variable
            ``NOETHER_BLOCK`` names, separated by commas, is left out as well.
        index: What is installed; read from the metadata on ``sys.path`` on first use where it is None.
    """

    def __init__(self, *, block: Iterable[str] = (), index: Index | None = None) -> None:
        block = (block,) if isinstance(block, str) else block
        environment = os.environ.get("NOETHER_BLOCK", "").split(",")
        self._block = frozenset(_canonical_name(name) for name in (*block, *environment) if name.strip())
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

    def commands(self) -> tuple[EntryPoint, ...]:
        """Return the plugins that add a command."""
        return tuple(entry for entry in self._all_of(COMMAND) if not self.is_blocked(entry))

    def blocked(self) -> tuple[EntryPoint, ...]:
        """Return the plugins of types that are installed and left out."""
        return tuple(entry for entry in self._all_of(ATTENTION) if self.is_blocked(entry))

    def is_blocked(self, entry: EntryPoint) -> bool:
        """Return whether a plugin is left out."""
        return not self._block.isdisjoint((entry.distribution, entry.qualified_name))

    def _all_of(self, group: str) -> tuple[EntryPoint, ...]:
        return (*self.index.of(group), *(entry for entry in self._added.values() if entry.group == group))


def _canonical_name(name: str) -> str:
    distribution, colon, bare = name.strip().partition(":")
    return canonical(distribution) + colon + bare
