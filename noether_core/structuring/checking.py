"""The attention configs in a document, each with what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from noether_core.errors import MOST_PROBLEMS, ConfigError, PluginError, Problem, path_text
from noether_core.plugins.registry import Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.structuring.documents import Document
from noether_core.structuring.structure import structured

if TYPE_CHECKING:
    from noether_core.structuring.paths import DocumentPath

    _Keys = tuple[str | int, ...]


class CheckedConfig(NamedTuple):
    """One config of a document: itself, or what is wrong with it."""

    keys: tuple[str | int, ...]
    """Keys and positions that lead to it; none for the document as a whole."""

    config: AttentionConfig | None
    problems: tuple[Problem, ...] = ()

    notices: tuple[Problem, ...] = ()
    """Options of older versions, which were read as those of today or left out."""

    @property
    def path(self) -> str:
        """Where it stands; empty for the document as a whole."""
        return path_text(self.keys)


def check_configs(
    document: Document, path: DocumentPath | None, *, registry: Registry | None = None
) -> list[CheckedConfig]:
    """Return every attention config that stands at *path* in a document.

    Args:
        document: The document.
        path: Where configs stand in it; None for the document as a whole. What leads to none is
            reported as well.
        registry: Where types are looked up; the process-wide one where it is None.
    """
    known = default_registry() if registry is None else registry
    if path is None:
        return [_checked(document, (), document.data, known)]

    found, dead_ends = path.find(document.data)
    checked: list[CheckedConfig] = []
    count = 0
    for item in found:
        checked.append(_checked(document, item.keys, item.value, known))
        count += len(checked[-1].problems)
        if count > MOST_PROBLEMS:
            message = f"there are more than {MOST_PROBLEMS} problems; "
            rest = Problem(
                message=f"{message}what stands behind this is not looked at", keys=item.keys
            )
            return [*checked, _faulty(document, rest)]
    return checked + [_faulty(document, problem) for problem in dead_ends[: MOST_PROBLEMS - count]]


def _checked(document: Document, keys: _Keys, value: Any, registry: Registry) -> CheckedConfig:
    try:
        config, notices = structured(value, AttentionConfig, registry=registry)
        registry.loaded_extensions().validate(config)
        located = tuple(document.locate(notice.within(*keys)) for notice in notices)
        return CheckedConfig(keys, config, notices=located)
    except ConfigError as error:
        problems = error.problems
    except PluginError as error:
        problems = (Problem(message=str(error), keys=("type",)),)
    if not keys:
        from noether_core.structuring.paths import pointed_at_configs

        problems = tuple(pointed_at_configs(problems, value, how="--at {}"))
    located = tuple(document.locate(problem.within(*keys)) for problem in problems)
    return CheckedConfig(keys, None, located)


def _faulty(document: Document, problem: Problem) -> CheckedConfig:
    return CheckedConfig(problem.keys, None, (document.locate(problem),))
