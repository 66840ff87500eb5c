"""What a file says of the module in it, and how that differs from what is installed. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import attrs

from noether_core.errors import ConfigError, Difference, SavedModuleError
from noether_core.plugins.metadata import EntryPoint
from noether_core.plugins.registry import RecordRegistry, Registry
from noether_core.provenance import Provenance, differences_between, missing, provenance_in
from noether_core.saving.sealed import impossible, sealed, unsealed
from noether_core.schemas.accepted import accepted_by, canonical_json, changes_between
from noether_core.schemas.frozen_mapping import EMPTY
from noether_core.schemas.schema import Schema, plan_of
from noether_core.schemas.unstructure import unstructure
from noether_core.structuring.structure import structure
from noether_core.tensor_files.header import Header, TensorInfo, opened, read_header


@attrs.frozen(kw_only=True)
class Contents(Schema):
    """What a file says of its module; each field is the JSON under its name behind ``noether.``."""

    config: Mapping[str, Any]
    """The options of its config, defaults written out."""

    provenance: Provenance
    """Which plugin made it."""

    parts: tuple[Provenance, ...] = ()
    """Which plugins made the modules within it that ``build`` made as well, each once."""

    schema: Mapping[str, Any]
    """What its config class accepted."""

    buffers: Mapping[str, str] = EMPTY
    """Dtypes of the buffers that it makes itself, and that are not saved."""

    sha256: Mapping[str, str]
    """Digests of the bytes of its tensors, in hexadecimal digits."""


def read_contents(path: str | os.PathLike[str]) -> tuple[Contents, Header]:
    """Return what the header of a file says; the tensors are not read.

    Raises:
        SavedModuleError: If `save` did not write the file, or its header is damaged.
    """
    with opened(path) as file:
        header = read_header(file, os.fsdecode(path))
    return contents_of(header.metadata, header.tensors, os.fsdecode(path)), header


def contents_of(
    metadata: Mapping[str, str], tensors: Mapping[str, TensorInfo], name: str
) -> Contents:
    """Return what a file says of the module in it.

    Args:
        metadata: The text in its header.
        tensors: The tensors in its header.
        name: What errors call the file.

    Raises:
        SavedModuleError: If it is not one that `save` wrote, or is damaged.
    """
    data = unsealed(metadata, tensors, name, "module")
    try:
        contents = structure(data, Contents)
    except ConfigError as error:
        raise impossible(error, name) from error

    if contents.sha256.keys() != tensors.keys():
        raise SavedModuleError(name, "its header has not one digest for each tensor")
    return contents


def metadata_of(contents: Contents, tensors: Mapping[str, TensorInfo]) -> dict[str, str]:
    """Return the text by which a file with *tensors* says *contents*."""
    sections = {name: canonical_json(value) for name, value in unstructure(contents).items()}
    return sealed(sections, tensors, "module")


class Comparison(NamedTuple):
    """The plugin that takes the place of the one that made a module, and in what it differs."""

    entry: EntryPoint | None
    """The plugin; None where nothing can take the place."""

    differences: tuple[Difference, ...]
    """Those of the module itself, then those of the modules within it."""


def compare(contents: Contents, registry: Registry) -> Comparison:
    """Return what is installed for the module in a file, and in what it differs.

    The recorded distribution is taken where it still provides the type, and another one where that
    is the only one.

    Args:
        contents: What the file says.
        registry: Where types are looked up.

    Raises:
        PluginError: If a plugin that takes a place cannot be used.
    """
    written = str(contents.config.get("type"))
    entry, differences = compare_made(contents.provenance, written, contents.schema, registry)
    return Comparison(entry, (*differences, *differences_of_parts(contents.parts, registry)))


def compare_made(
    before: Provenance, type: str, schema: Mapping[str, Any], registry: RecordRegistry[Any]
) -> Comparison:
    """Return what is installed in the place of one plugin, and in what it differs.

    Args:
        before: The plugin.
        type: Its type, as a config has it.
        schema: What its config class accepted, so that changes can be named by option.
        registry: Where types are looked up.

    Raises:
        PluginError: If the plugin that takes the place cannot be used.
    """
    entry, found = _compare(before, type, registry)
    return Comparison(
        entry, tuple(_in_words(difference, schema, entry, registry) for difference in found)
    )


def differences_of_parts(parts: Iterable[Provenance], registry: Registry) -> list[Difference]:
    """Return in what the plugins of modules within differ from what is installed.

    Files hold no schema of them, so that theirs differ by hash and not in words.
    """
    return [found for part in parts for found in _compare(part, part.type, registry)[1]]


def _compare(
    before: Provenance, type: str, registry: RecordRegistry[Any]
) -> tuple[EntryPoint | None, list[Difference]]:
    providers = registry.providers(type)
    same = [entry for entry in providers if entry.distribution == before.distribution]
    if not same and len(providers) != 1:
        several = " and ".join(entry.provider for entry in providers)
        found = missing(before, f"{several} provide it") if several else missing(before)
        return None, [found]

    entry = (same or providers)[0]
    here = provenance_in(registry.get(entry.qualified_name), entry)
    return entry, list(differences_between(before, here))


def _in_words(
    difference: Difference,
    schema: Mapping[str, Any],
    entry: EntryPoint | None,
    registry: RecordRegistry[Any],
) -> Difference:
    """Return a difference of schemas as what has changed, since the file holds the schema too."""
    if difference.name != "schema" or entry is None:
        return difference

    config = registry.get(entry.qualified_name).config
    before, here = unstructure(schema), accepted_by(config)
    changes = "; ".join(changes_between(before, here, plan_of(config).renamed))
    if not changes:
        return difference
    return difference._replace(before="other options", here=changes)
