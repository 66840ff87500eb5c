"""From files to configs and back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from noether_core.errors import MOST_PROBLEMS, ConfigError, PluginError, Problem, path_text
from noether_core.plugins.registry import Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.schema import Schema
from noether_core.structuring.documents import FORMATS, Document, Format, read
from noether_core.structuring.structure import Unknown, structure, structure_document, unstructure

if TYPE_CHECKING:
    from noether_core.structuring.lock import Locked
    from noether_core.structuring.paths import Overridden, Place

_S = TypeVar("_S", bound=Schema)
_Path = str | os.PathLike[str]


@overload
def load(
    path: _Path,
    *,
    format: Format | None = None,
    unknown: Unknown = "error",
    overrides: Sequence[str] = (),
    lock: _Path | None = None,
    registry: Registry | None = None,
) -> AttentionConfig: ...
@overload
def load(
    path: _Path,
    cls: type[_S],
    *,
    format: Format | None = None,
    unknown: Unknown = "error",
    overrides: Sequence[str] = (),
    lock: _Path | None = None,
    registry: Registry | None = None,
) -> _S: ...
def load(
    path: _Path,
    cls: type[Schema] = AttentionConfig,
    *,
    format: Format | None = None,
    unknown: Unknown = "error",
    overrides: Sequence[str] = (),
    lock: _Path | None = None,
    registry: Registry | None = None,
) -> Schema:
    """Return the config that a YAML, TOML or JSON file describes.

    Args:
        path: The file.
        cls: What to make; by default the concrete config of the variant that ``type`` names.
        format: How it is written; by its suffix where it is None.
        unknown: What becomes of options that the config does not know, as in `structure`.
        overrides: Values that go before those of the file, each as ``path=value``, the value as in
            YAML: ``model.depth=6``. Their problems are placed at the command line.
        lock: A lock file, which ``noether lock`` writes: every type that the config needs must have
            the provider that stands there, and a bare type means that one. None for no lock.
        registry: Where types are looked up; the process-wide one where it is None.

    Raises:
        ConfigError: If a file cannot be read, anything is wrong with the config, or a provider is
            another than it is locked to; every problem carries its file, line and column.
        PluginError: If the package that provides the type cannot be used.
    """
    locked = _locked(lock, registry)  # first: problems of a lock hide those of what is under it
    document = _overridden(read(path, format), overrides)
    if locked is not None:
        return locked.structure(document, cls, unknown=unknown)
    return structure_document(document, cls, unknown=unknown, registry=registry)


def _locked(lock: _Path | None, registry: Registry | None) -> Locked | None:
    if lock is None:
        return None
    from noether_core.structuring.lock import Locked

    return Locked(lock, registry=registry)


def _overridden(document: Document, overrides: Sequence[str]) -> Document | Overridden:
    if not overrides:
        return document
    from noether_core.structuring.paths import override

    return override(document, overrides)


class Checked(NamedTuple):
    """One config of a document: itself, or what is wrong with it."""

    keys: tuple[str | int, ...]
    """Keys and positions that lead to it; none for the document as a whole."""

    config: AttentionConfig | None
    problems: tuple[Problem, ...]

    @property
    def path(self) -> str:
        """Where it stands; empty for the document as a whole."""
        return path_text(self.keys)


def check_placed(
    document: Document, place: Place | None, *, registry: Registry | None = None
) -> list[Checked]:
    """Return every attention config that stands at *place* in a document, each with what is wrong
    with it.

    Args:
        document: The document.
        place: Where configs stand in it; None for the document as a whole. What does not lead to
            one is told as well.
        registry: Where types are looked up; the process-wide one where it is None.
    """
    if place is None:
        return [_checked(document, (), document.data, registry)]
    found, problems = place.find(document.data)
    checked: list[Checked] = []
    told = 0
    for keys, value in found:
        checked.append(_checked(document, keys, value, registry))
        told += len(checked[-1].problems)
        if told > MOST_PROBLEMS:
            message = f"there are more than {MOST_PROBLEMS} problems; what stands behind this is not looked at"
            return [
                *checked,
                Checked(keys, None, (document.locate(Problem(message=message, keys=keys)),)),
            ]
    lost = problems[: MOST_PROBLEMS - told]
    return [
        *checked,
        *(Checked(problem.keys, None, (document.locate(problem),)) for problem in lost),
    ]


def _checked(
    document: Document, keys: tuple[str | int, ...], value: Any, registry: Registry | None
) -> Checked:
    try:
        config = structure(value, registry=registry)
        (default_registry() if registry is None else registry).loaded_extensions().validate(config)
        return Checked(keys, config, ())
    except ConfigError as error:
        problems = error.problems
    except PluginError as error:
        problems = (Problem(message=str(error), keys=("type",)),)
    return Checked(
        keys, None, tuple(document.locate(problem.within(*keys)) for problem in problems)
    )


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
        ValueError: If there is no such *format*, or the suffix of *path* tells none.
        OSError: If the file cannot be written.
    """
    if format not in (None, *FORMATS.values()):
        raise ValueError(
            f"no format {format!r}; expected one of {', '.join(dict.fromkeys(FORMATS.values()))}"
        )
    chosen = format or FORMATS.get(os.path.splitext(path)[1].lower())
    if chosen is None:
        raise ValueError(
            f"{os.fspath(path)}: the suffix tells no format; use one of {', '.join(FORMATS)}"
        )
    from noether_core.atomic_writes import write_whole
    from noether_core.structuring.documents.write import write

    write_whole(path, write(unstructure(config, defaults=defaults), chosen))
