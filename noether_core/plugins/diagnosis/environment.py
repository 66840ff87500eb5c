"""What the checks look at."""

from __future__ import annotations

import attrs

from noether_core.plugins.diagnosis.installed import Installed, all_installed
from noether_core.plugins.metadata import EntryPoint, is_leftover, metadata_folders, searched_path
from noether_core.plugins.resolution import Catalogue


@attrs.frozen
class Environment:
    """Everything that is installed, by metadata alone."""

    known: Catalogue
    """The plugins."""

    installed: tuple[Installed, ...]
    """The distributions, with plugins or without."""

    leftovers: tuple[str, ...]
    """Metadata that interrupted uninstallations left."""

    core_commands: frozenset[str]
    """Names of the commands that are Noether's own."""

    @property
    def plugins(self) -> tuple[EntryPoint, ...]:
        """The plugins of every group that are not blocked."""
        return (*self.known.providers(), *self.known.commands(), *self.known.extensions())

    @property
    def distributions_with_plugins(self) -> frozenset[str]:
        """The names of the distributions that announce plugins, blocked and hidden ones among them."""
        index = self.known.index
        return frozenset(entry.distribution for entry in (*index.entry_points, *index.shadowed))


def environment_of(known: Catalogue, core_commands: frozenset[str]) -> Environment:
    """Return what is on ``sys.path``."""
    path = searched_path()
    leftovers = tuple(origin for origin in metadata_folders(path) if is_leftover(origin))
    return Environment(known, tuple(all_installed(path)), leftovers, core_commands)
