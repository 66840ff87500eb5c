"""Lock files: which package provides each type that configs need."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal

import attrs

from noether_core.errors import ConfigError, Problem
from noether_core.files import write_whole
from noether_core.plugins.metadata import core_version
from noether_core.plugins.registry import Registry
from noether_core.provenance import Provenance, provenance_in
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.rules import Because
from noether_core.schemas.schema import Schema, invariant, plan_of
from noether_core.structuring.documents import Document, read
from noether_core.structuring.load import structure_document
from noether_core.structuring.structure import unstructure

_HEADLINE: Final = (
    "# Written by 'noether lock', for 'noether validate --locked' and 'noether run --locked'.\n"
)

_Format = Annotated[Literal[1], Because("another version of noether-attention wrote this file")]


@attrs.frozen(kw_only=True)
class Lock(Schema):
    """What configs need; a file of TOML."""

    format: _Format
    """Version of this format."""

    noether: str
    """Version of noether-attention."""

    types: tuple[Provenance, ...]
    """Which plugin provides each type, sorted by type and distribution."""

    @invariant
    @staticmethod
    def plugins_are_named_once(types: tuple[Provenance, ...]) -> Problem | None:
        """Return a problem if a type is locked twice to one distribution."""
        names = [f"{locked.distribution}:{locked.type}" for locked in types]
        repeated = next((at for at, name in enumerate(names) if name in names[:at]), None)
        if repeated is None:
            return None
        return Problem(keys=("types", repeated), message=f"{names[repeated]} is locked twice")


def lock_of(configs: Iterable[Schema], registry: Registry) -> Lock:
    """Return what *configs* need, as it is installed.

    Raises:
        PluginError: If a package that provides a type cannot be used.
    """
    found = {
        provenance_here(config, registry)
        for schema in configs
        for _, config in attention_configs(schema)
    }
    types = sorted(found, key=lambda provenance: (provenance.type, provenance.distribution))
    return Lock(format=1, noether=core_version(), types=tuple(types))


def provenance_here(config: AttentionConfig, registry: Registry) -> Provenance:
    """Return the provenance that a module of *config* would have.

    Raises:
        PluginError: If the package that provides the type cannot be used.
    """
    return provenance_in(registry.variant_of(config), registry.provider_of(config))


def attention_configs(
    value: Any, keys: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield every attention config that *value* is or holds, with the keys and positions that lead
    to it.
    """
    if isinstance(value, AttentionConfig):
        yield keys, value
    for key, part in _parts(value):
        yield from attention_configs(part, (*keys, key))


def _parts(value: Any) -> Iterable[tuple[str | int, Any]]:
    if isinstance(value, Schema):
        return [(field.option, getattr(value, field.name)) for field in plan_of(type(value)).fields]
    if isinstance(value, Mapping):
        return value.items()
    return enumerate(value) if isinstance(value, (list, tuple)) else ()


def write_lock(lock: Lock, path: str | os.PathLike[str]) -> None:
    """Write a lock file, whole or not at all; equal locks are equal files.

    Raises:
        OSError: If it cannot be written.
    """
    from noether_core.structuring.documents.write import write

    write_whole(path, _HEADLINE + write(unstructure(lock), "toml"))


def read_lock(path: str | os.PathLike[str]) -> tuple[Lock, Document]:
    """Return the lock in a file, and the file, in which problems can be placed.

    Raises:
        ConfigError: If it cannot be read or is none; every problem carries its line and column.
    """
    try:
        document = read(path, "toml")
    except ConfigError as error:
        if os.path.exists(path):
            raise
        way_out = "write one with 'noether lock'"
        raise error.with_problems(
            attrs.evolve(problem, suggestion=way_out) for problem in error.problems
        ) from None
    return structure_document(document, Lock), document
