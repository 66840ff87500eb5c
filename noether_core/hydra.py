"""Attention variants in Hydra's ConfigStore: ``attention=transolver attention.num_slices=64``."""

from __future__ import annotations

import warnings
from typing import Any

from noether_core.errors import ConfigError, PluginError
from noether_core.plugins.registry import Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.quoting import visible_lines
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.schema import plan_of
from noether_core.schemas.unstructure import unstructure

MISSING = "???"
"""What Hydra and OmegaConf write for a value that must be given."""


def store_variants(
    group: str = "attention", *, registry: Registry | None = None
) -> tuple[str, ...]:
    """Put every installed variant into Hydra's ConfigStore, each under its type.

    Call it before ``hydra.main``. A variant is a plain mapping of all its options with their
    defaults, ``???`` where there is none; `noether_core.structure` and `noether_core.build` take
    the config that Hydra composes of it.

    Args:
        group: The config group, and so the place in the composed config: ``attention``,
            ``model/attention``.
        registry: Where variants are looked up; the process-wide one where it is None.

    Returns:
        The types that were stored. One that several packages provide, or whose plugin cannot be
        used, is left out with a warning that says why.

    Raises:
        ImportError: If Hydra is not installed.
    """
    try:
        from hydra.core.config_store import ConfigStore
    except ModuleNotFoundError as error:
        raise ImportError(
            "Hydra is not installed; pip install 'noether-attention[hydra]'"
        ) from error

    known = default_registry() if registry is None else registry
    stored = []
    for name in known.types():
        try:
            config = known.get(name).config
        except (ConfigError, PluginError) as error:
            reason = f"'{name}' is left out of Hydra's ConfigStore: {error}"
            warnings.warn(visible_lines(reason), UserWarning, stacklevel=2)
            continue
        # a plain mapping: Hydra's command line may not change what a frozen class has made
        node = _options_of(config)
        ConfigStore.instance().store(
            group=group, name=name, node=node, provider="noether-attention"
        )
        stored.append(name)
    return tuple(stored)


def _options_of(config: type[AttentionConfig]) -> dict[str, Any]:
    """Return all options of a config class, each with its default or as missing."""
    plan = plan_of(config)
    options: dict[str, Any] = {}
    for field in plan.fields:
        if field.option in plan.required:
            options[field.option] = MISSING
        elif field.option in plan.options:
            options[field.option] = unstructure(field.default_value())
    return options
