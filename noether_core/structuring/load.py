"""From files to configs and back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar, overload

from noether_core.plugins.registry import Registry
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.schema import Schema
from noether_core.schemas.unstructure import unstructure
from noether_core.structuring.documents import FORMATS, Document, Format, read
from noether_core.structuring.structure import Unknown, structure_document

if TYPE_CHECKING:
    from noether_core.structuring.lock import Locked
    from noether_core.structuring.paths import AnyDocument, DocumentPart, OverriddenDocument

_S = TypeVar("_S", bound=Schema)
_Path = str | os.PathLike[str]


@overload
def load(
    path: _Path,
    *,
    at: str | None = None,
    format: Format | None = None,
    unknown: Unknown = "error",
    overrides: Sequence[str] = (),
    lock: _Path | None = None,
    origin: str | None = None,
    registry: Registry | None = None,
) -> AttentionConfig: ...
@overload
def load(
    path: _Path,
    cls: type[_S],
    *,
    at: str | None = None,
    format: Format | None = None,
    unknown: Unknown = "error",
    overrides: Sequence[str] = (),
    lock: _Path | None = None,
    origin: str | None = None,
    registry: Registry | None = None,
) -> _S: ...
def load(
    path: _Path,
    cls: type[Schema] = AttentionConfig,
    *,
    at: str | None = None,
    format: Format | None = None,
    unknown: Unknown = "error",
    overrides: Sequence[str] = (),
    lock: _Path | None = None,
    origin: str | None = None,
    registry: Registry | None = None,
) -> Schema:
    """Return the config that a YAML, TOML or JSON file describes.

    Args:
        path: The file.
        cls: What to make; by default the concrete config of the variant that ``type`` names.
        at: Where the config stands in the file: ``model.attention``, ``model.blocks[0].attention``.
            None for the file as a whole.
        format: How it is written; by its suffix where it is None.
        unknown: What becomes of options that the config does not know, as in `structure`.
        overrides: Values that go before those of the file, each as ``path=value``, the path from
            the top of the file and the value as in YAML: ``model.depth=6``. Their problems are
            placed at the command line.
        lock: A lock file, which ``noether lock`` writes: every type that the config needs must have
            the provider that stands there, and a bare type means that one. None for no lock.
        origin: The other implementation that the config was written for, as in `structure`.
        registry: Where types are looked up; the process-wide one where it is None.

    Raises:
        ConfigError: If a file cannot be read, anything is wrong with the config, or a provider is
            another than it is locked to; every problem carries its file, line and column.
        PluginError: If the package that provides the type cannot be used.
        ValueError: If *at* is no path or leads to several values, or *origin* is none.
    """
    locked = _locked(lock, registry)  # first: problems of a lock hide those of what is under it
    whole = _overridden(read(path, format), overrides)
    document: AnyDocument = whole if at is None else _part(whole, at)
    if locked is not None:
        return locked.structure(document, cls, unknown=unknown, origin=origin)
    return structure_document(document, cls, unknown=unknown, origin=origin, registry=registry)


def _locked(lock: _Path | None, registry: Registry | None) -> Locked | None:
    if lock is None:
        return None
    from noether_core.structuring.lock import Locked

    return Locked(lock, registry=registry)


def _overridden(document: Document, overrides: Sequence[str]) -> Document | OverriddenDocument:
    if not overrides:
        return document
    from noether_core.structuring.paths import override

    return override(document, overrides)


def _part(document: Document | OverriddenDocument, at: str) -> DocumentPart:
    from noether_core.structuring.paths import part_at

    return part_at(document, at)


def dump(
    config: Schema, path: _Path, *, format: Format | None = None, defaults: bool = True
) -> None:
    """Write *config* to a YAML, TOML or JSON file, whole or not at all.

    `load` gives back an equal one; with ``unknown="keep"`` where the config keeps extra options.

    Args:
        config: The config.
        path: The file; an older one is replaced.
        format: How to write it; by the suffix of *path* where it is None.
        defaults: Whether options that hold their default are written out.

    Raises:
        ConfigError: If the format cannot hold a value: TOML has no null, JSON no infinity.
        ValueError: If there is no such *format*, or the suffix of *path* names none.
        OSError: If the file cannot be written.
    """
    from noether_core.atomic_writes import write_whole
    from noether_core.structuring.documents.writing import write

    options = unstructure(config, defaults=defaults)
    write_whole(path, write(options, _format_of(path, format)))


def _format_of(path: _Path, format: Format | None) -> Format:
    """Return the format to write: the one that is named, or that of the file's suffix."""
    formats = dict.fromkeys(FORMATS.values())
    if format is not None:
        if format not in formats:
            raise ValueError(f"no format {format!r}; expected one of {', '.join(formats)}")
        return format
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in FORMATS:
        raise ValueError(
            f"{os.fspath(path)}: the suffix names no format; use one of {', '.join(FORMATS)}"
        )
    return FORMATS[suffix]
