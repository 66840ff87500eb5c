"""The configs of variants and tasks in a document, each with what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from noether_core.errors import MOST_PROBLEMS, ConfigError, PluginError, Problem, path_text
from noether_core.plugins.metadata import KINDS
from noether_core.plugins.registry import Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.open_config import OpenConfig, open_configs_in
from noether_core.structuring.documents import Document
from noether_core.structuring.structure import structured

if TYPE_CHECKING:
    from noether_core.schemas.schema import Schema
    from noether_core.structuring.paths import DocumentPath, OverriddenDocument

    _Keys = tuple[str | int, ...]


class CheckedConfig(NamedTuple):
    """One config of a document: itself, or what is wrong with it."""

    keys: tuple[str | int, ...]
    """Keys and positions that lead to it; none for the document as a whole."""

    config: Schema | None
    problems: tuple[Problem, ...] = ()

    notices: tuple[Problem, ...] = ()
    """Options of older versions, which were read as those of today or left out."""

    @property
    def path(self) -> str:
        """Where it stands; empty for the document as a whole."""
        return path_text(self.keys)


def check_configs(
    document: Document | OverriddenDocument,
    path: DocumentPath | None,
    *,
    cls: type[Schema] | None = None,
    registry: Registry | None = None,
) -> list[CheckedConfig]:
    """Return every config that stands at *path* in a document.

    Args:
        document: The document.
        path: Where configs stand in it; None for the document as a whole. What leads to none is
            reported as well.
        cls: What each of them is; of a variant or a task, as its type says, where it is None.
        registry: Where types are looked up; the process-wide one where it is None.
    """
    known = default_registry() if registry is None else registry
    if path is None:
        return [_checked(document, (), document.data, cls, known)]

    found, dead_ends = path.find(document.data)
    checked: list[CheckedConfig] = []
    count = 0
    for item in found:
        checked.append(_checked(document, item.keys, item.value, cls, known))
        count += len(checked[-1].problems)
        if count > MOST_PROBLEMS:
            message = f"there are more than {MOST_PROBLEMS} problems; "
            rest = Problem(
                message=f"{message}what stands behind this is not looked at", keys=item.keys
            )
            return [*checked, _faulty(document, rest)]
    return checked + [_faulty(document, problem) for problem in dead_ends[: MOST_PROBLEMS - count]]


def _checked(
    document: Document | OverriddenDocument,
    keys: _Keys,
    value: Any,
    cls: type[Schema] | None,
    registry: Registry,
) -> CheckedConfig:
    wanted = cls or _family_of(value, registry)
    try:
        config, notices = structured(value, wanted, registry=registry)
        _let_extensions_look(config, registry)
        located = tuple(document.locate(notice.within(*keys)) for notice in notices)
        return CheckedConfig(keys, config, notices=located)
    except ConfigError as error:
        problems = error.problems
    except PluginError as error:
        problems = (Problem(message=str(error), keys=("type",)),)
    if not keys and cls is None:
        problems = _pointed_at_configs(problems, value, registry)
    located = tuple(document.locate(problem.within(*keys)) for problem in problems)
    return CheckedConfig(keys, None, located)


def _let_extensions_look(config: Schema, registry: Registry) -> None:
    """Let extensions validate the attention that *config* is, or that an experiment holds.

    Raises:
        ConfigError: If any finds something wrong with it.
        PluginError: If an extension fails.
    """
    if isinstance(config, AttentionConfig):
        registry.loaded_extensions().validate(config)
        return
    if isinstance(config, OpenConfig):  # tasks are none of their business
        return
    for keys, part in open_configs_in(config):
        try:
            if isinstance(part, AttentionConfig):
                registry.loaded_extensions().validate(part)
        except ConfigError as error:
            raise error.with_problems(problem.within(*keys) for problem in error.problems) from None


def _pointed_at_configs(
    problems: tuple[Problem, ...], value: Any, registry: Registry
) -> tuple[Problem, ...]:
    """Return the problems; of a document that only holds configs, where the first of them is."""
    from noether_core.structuring.paths import pointed_at_configs

    for kind in KINDS.values():
        found = pointed_at_configs(
            problems,
            value,
            kind.config_class,
            registry,
            how="--at {}; a whole experiment: --experiment",
        )
        if tuple(found) != problems:
            return tuple(found)
    return problems


def _family_of(value: Any, registry: Registry) -> type[OpenConfig]:
    """Return the open config of what *value* is meant to be: of a task by its type, or a variant.

    A name that nothing has, or that both have, is a task's where ``hidden_dim`` is missing, which
    every attention config has.
    """
    name = value.get("type") if isinstance(value, Mapping) else None
    if not isinstance(name, str):
        return AttentionConfig
    looks_like_attention = "hidden_dim" in value
    is_variant = bool(registry.providers(name))
    if is_variant and looks_like_attention:
        return AttentionConfig

    from noether_core.spelling import nearest

    tasks = registry.tasks
    may_be_task = not is_variant and not looks_like_attention
    if tasks.has(name) or (may_be_task and nearest(name, tasks.types()) is not None):
        from noether_core.schemas.task import TaskConfig

        return TaskConfig
    return AttentionConfig


def _faulty(document: Document | OverriddenDocument, problem: Problem) -> CheckedConfig:
    return CheckedConfig(problem.keys, None, (document.locate(problem),))
