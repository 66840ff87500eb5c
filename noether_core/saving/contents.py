"""What a file says of the module in it, and how that differs from what is installed. No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import attrs

from noether_core.errors import ConfigError, Difference, SavedModuleError, shown
from noether_core.plugins.metadata import EntryPoint
from noether_core.plugins.registry import Registry
from noether_core.provenance import Provenance, differences_between, missing, provenance_in
from noether_core.schemas.accepted import accepted_by, canonical_json, changes_between
from noether_core.schemas.frozen_mapping import EMPTY
from noether_core.schemas.schema import Schema, plan_of
from noether_core.schemas.unstructure import unstructure
from noether_core.structuring.documents import parse
from noether_core.structuring.structure import structure
from noether_core.tensor_files.header import (
    Header,
    TensorInfo,
    header_digest,
    opened,
    read_header,
)

_PREFIX: Final = "noether."
_FORMAT: Final = "1"
_FORMAT_KEY, _DIGEST_KEY = f"{_PREFIX}format", f"{_PREFIX}digest"

# What accelerate and transformers ask of a file before they read it.
_FRAMEWORK_KEY, _FRAMEWORK = "format", "pt"


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
        header = read_header(file, os.fspath(path))
    return contents_of(header.metadata, header.tensors, os.fspath(path)), header


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
    texts = _own_texts(metadata)
    # The format first: another one may have its digest elsewhere.
    _check_format(texts, name)
    if texts.pop(_DIGEST_KEY, None) != header_digest(texts, tensors):
        raise SavedModuleError(name, "is damaged: its header is not the one that was written")

    data: dict[str, Any] = {}
    try:
        for key, text in texts.items():
            if key not in {_FORMAT_KEY, _FRAMEWORK_KEY}:
                data[key.removeprefix(_PREFIX)] = parse(text, "json", file=key).data
        contents = structure(data, Contents)
    except ConfigError as error:
        reason = f"its header says what cannot be: {error.problems[0].headline}"
        raise SavedModuleError(name, reason) from error

    if contents.sha256.keys() != tensors.keys():
        raise SavedModuleError(name, "its header has not one digest for each tensor")
    return contents


def metadata_of(contents: Contents, tensors: Mapping[str, TensorInfo]) -> dict[str, str]:
    """Return the text by which a file with *tensors* says *contents*."""
    texts = {_FRAMEWORK_KEY: _FRAMEWORK, _FORMAT_KEY: _FORMAT}
    for key, value in unstructure(contents).items():
        texts[f"{_PREFIX}{key}"] = canonical_json(value)
    return texts | {_DIGEST_KEY: header_digest(texts, tensors)}


def _own_texts(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the texts that `save` wrote, without those that other tools may have added."""
    return {
        key: text
        for key, text in metadata.items()
        if key.startswith(_PREFIX) or key == _FRAMEWORK_KEY
    }


def _check_format(texts: Mapping[str, str], name: str) -> None:
    found = texts.get(_FORMAT_KEY)
    if found is None:
        reason = f"holds no saved module: its metadata has no '{_FORMAT_KEY}'; write it with save"
        raise SavedModuleError(name, reason)
    if found != _FORMAT:
        reason = f"is of format {shown(found)}, and this noether-attention reads '{_FORMAT}'"
        raise SavedModuleError(name, f"{reason}; install a newer one")


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
    entry, found = _compare(contents.provenance, str(contents.config.get("type")), registry)
    # The file holds no schema of modules within, so that theirs differ by hash and not in words.
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
        found = missing(before, f"{several} provide it") if several else missing(before)
        return None, [found]

    entry = (same or providers)[0]
    here = provenance_in(registry.get(entry.qualified_name), entry)
    return entry, list(differences_between(before, here))


def _in_words(
    difference: Difference, contents: Contents, entry: EntryPoint | None, registry: Registry
) -> Difference:
    """Return a difference of schemas as what has changed, since the file holds the schema too."""
    if difference.name != "schema" or entry is None:
        return difference

    config = registry.get(entry.qualified_name).config
    before, here = unstructure(contents.schema), accepted_by(config)
    changes = "; ".join(changes_between(before, here, plan_of(config).renamed))
    if not changes:
        return difference
    return difference._replace(before="other options", here=changes)
