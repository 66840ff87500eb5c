"""What a file says of the providers of its module, beside those that are installed. No torch."""

from __future__ import annotations

from typing import NamedTuple

import attrs

from noether_core.errors import Difference
from noether_core.plugins.metadata import EntryPoint
from noether_core.plugins.registry import Registry
from noether_core.provenance import Provenance, differences_between, missing, provenance_in
from noether_core.saving.contents import Contents
from noether_core.schemas.accepted import accepted_by, changes_between
from noether_core.schemas.unstructure import unstructure


class Comparison(NamedTuple):
    """The plugin that takes the place of the one that made a module, and in what it differs."""

    entry: EntryPoint | None
    """The plugin; None where nothing can take the place."""

    differences: tuple[Difference, ...]
    """Those of the module itself, then those of the modules within it."""


def compare(contents: Contents, registry: Registry) -> Comparison:
    """Return what is installed for the module in a file, and in what it differs from what the file
    was saved with.

    The recorded distribution is taken where it still provides the type, and another one where that
    is the only one.

    Args:
        contents: What the file says.
        registry: Where types are looked up.

    Raises:
        PluginError: If a plugin that takes a place cannot be used.
    """
    entry, found = _compare(contents.provenance, str(contents.config.get("type")), registry)
    differences = [_in_words(difference, contents, entry, registry) for difference in found]
    for part in contents.parts:
        differences += _compare(part, part.type, registry)[1]
    return Comparison(entry, tuple(differences))


def _compare(
    before: Provenance, type: str, registry: Registry
) -> tuple[EntryPoint | None, list[Difference]]:
    providers = registry.providers(type)
    same = [entry for entry in providers if entry.distribution == before.distribution]
    if not same and len(providers) != 1:
        several = " and ".join(entry.provider for entry in providers)
        return None, [missing(before, f"{several} provide it") if several else missing(before)]
    entry = (same or providers)[0]
    here = provenance_in(registry.get(entry.qualified_name), entry)
    return entry, list(differences_between(before, here))


def _in_words(
    difference: Difference, contents: Contents, entry: EntryPoint | None, registry: Registry
) -> Difference:
    """Return a difference of schemas as what has changed, since the file holds the schema too."""
    if difference.name != "schema" or entry is None:
        return difference
    here = accepted_by(registry.get(entry.qualified_name).config)
    changes = "; ".join(changes_between(unstructure(contents.schema), here))
    return attrs.evolve(difference, before="other options", here=changes) if changes else difference
