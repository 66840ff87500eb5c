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
from noether_core.structuring.structure import Unknown, or_warn, structure, unstructure

if TYPE_CHECKING:
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
    registry: Registry | None = None,
) -> _S: ...
def load(
    path: _Path,
    cls: type[Schema] = AttentionConfig,
    *,
    format: Format | None = None,
    unknown: Unknown = "error",
    overrides: Sequence[str] = (),
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
        registry: Where types are looked up; the process-wide one where it is None.

    Raises:
        ConfigError: If the file cannot be read or anything is wrong with the config; every problem
            carries its file, line and column.
        PluginError: If the package that provides the type cannot be used.
    """
    document = read(path, format)
    if not overrides:
        return structure_document(document, cls, unknown=unknown, registry=registry)
    from noether_core.structuring.paths import override

    return structure_document(
        override(document, overrides), cls, unknown=unknown, registry=registry
    )


def structure_document(
    document: Document | Overridden,
    cls: type[_S],
    *,
    unknown: Unknown = "error",
    registry: Registry | None = None,
) -> _S:
    """Return the config that a parsed document describes; its problems carry file, line and column.

    Raises:
        ConfigError: If anything is wrong with it.
        PluginError: If the package that provides a type cannot be used.
    """
    if unknown == "warn":
        return or_warn(
            lambda choice: structure_document(document, cls, unknown=choice, registry=registry)
        )
    try:
        return structure(document.data, cls, unknown=unknown, registry=registry)
    except ConfigError as error:
        raise error.with_problems(document.locate(problem) for problem in error.problems) from None


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
    from noether_core.files import write_whole
    from noether_core.structuring.documents.write import write

    write_whole(path, write(unstructure(config, defaults=defaults), chosen))
