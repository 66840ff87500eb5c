"""From a file to a config and back."""

from __future__ import annotations

import os
from typing import TypeVar, overload

from noether_core.errors import ConfigError
from noether_core.plugins.registry import Registry
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.schema import Schema
from noether_core.structuring.documents import FORMATS, Document, Format, read
from noether_core.structuring.structurer import Unknown, structure, unstructure

_S = TypeVar("_S", bound=Schema)
_Path = str | os.PathLike[str]


@overload
def load(
    path: _Path, *, format: Format | None = None, unknown: Unknown = "error", registry: Registry | None = None
) -> AttentionConfig: ...
@overload
def load(
    path: _Path,
    cls: type[_S],
    *,
    format: Format | None = None,
    unknown: Unknown = "error",
    registry: Registry | None = None,
) -> _S: ...
def load(
    path: _Path,
    cls: type[Schema] = AttentionConfig,
    *,
    format: Format | None = None,
    unknown: Unknown = "error",
    registry: Registry | None = None,
) -> Schema:
    """Return the config that a YAML, TOML or JSON file describes.

    Args:
        path: The file.
        cls: What to make; by default the concrete config of the variant that ``type`` names.
        format: How it is written; by its suffix where it is None.
        unknown: What becomes of options that the config does not know, as in `structure`.
        registry: Where types are looked up; the process-wide one where it is None.

    Raises:
        ConfigError: If the file cannot be read or anything is wrong with the config; every problem carries its file,
            line and column.
        PluginError: If the package that provides the type cannot be used.
    """
    document = read(path, format)
    return structure_document(document, cls, unknown=unknown, registry=registry)


def structure_document(
    document: Document, cls: type[_S], *, unknown: Unknown = "error", registry: Registry | None = None
) -> _S:
    """Return the config that a parsed document describes; its problems carry file, line and column.

    Raises:
        ConfigError: If anything is wrong with it.
        PluginError: If the package that provides a type cannot be used.
    """
    try:
        return structure(document.data, cls, unknown=unknown, registry=registry)
    except ConfigError as error:
        raise error.with_problems(document.locate(problem) for problem in error.problems) from None


def dump(config: Schema, path: _Path, *, format: Format | None = None, defaults: bool = True) -> None:
    """Write *config* to a YAML, TOML or JSON file, whole or not at all.

    `load` gives back an equal one; with ``unknown="keep"`` where the config keeps extra options.

    Args:
        config: The config.
        path: The file; an older one is replaced.
        format: How to write it; by the suffix of *path* where it is None.
        defaults: Whether options that hold their default are written out.

    Raises:
        ConfigError: If the format cannot hold a value: TOML has no null, JSON no infinity.
        ValueError: If there is no such *format*, or the suffix of *path* tells none.
        OSError: If the file cannot be written.
    """
    if format not in (None, *FORMATS.values()):
        raise ValueError(f"no format {format!r}; expected one of {', '.join(dict.fromkeys(FORMATS.values()))}")
    chosen = format or FORMATS.get(os.path.splitext(path)[1].lower())
    if chosen is None:
        raise ValueError(f"{os.fspath(path)}: the suffix tells no format; use one of {', '.join(FORMATS)}")
    from noether_core.files import write_whole
    from noether_core.structuring.documents.writing import write

    write_whole(path, write(unstructure(config, defaults=defaults), chosen))
