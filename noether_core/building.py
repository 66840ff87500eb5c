"""From a config to its module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from noether_core.errors import MissingExtraError, PluginError, shown
from noether_core.hookspecs import AttentionVariant
from noether_core.plugins.imports import import_object, label
from noether_core.plugins.registry import Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.provenance import record
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.unstructure import unstructure
from noether_core.structuring.omegaconf import resolved
from noether_core.structuring.structure import structure

if TYPE_CHECKING:
    from torch import nn


def build(
    source: AttentionConfig | Mapping[str, Any] | str,
    /,
    *,
    registry: Registry | None = None,
    **options: Any,
) -> nn.Module:
    """Return the module that a config describes.

    ``build(config)``, ``build({"type": "transolver", ...})`` and ``build("transolver",
    hidden_dim=256, ...)`` are one.

    Args:
        source: A config, a mapping of options, or a type.
        registry: Where types are looked up; the process-wide one where it is None.
        **options: Options that go before those of *source*.

    Returns:
        A new ``torch.nn.Module`` in training mode, whose ``config`` is the frozen config it was
        built from.

    Raises:
        ConfigError: If anything is wrong with the config.
        UnknownTypeError: If no installed package provides the type.
        AmbiguousTypeError: If several do and the config does not say which.
        PluginError: If the package that does cannot be used, or an extension fails.
    """
    known = default_registry() if registry is None else registry
    config = _structured(source, options, known)
    variant, entry, extensions = (
        known.variant_of(config),
        known.provider_of(config),
        known.loaded_extensions(),
    )
    extensions.validate(config)
    module_class = _module_class(variant, f"'{config.type}'")
    for extension in extensions.of("noether_before_build"):
        extension.call("noether_before_build", config=config)
    module = _keeping(module_class(config), config, f"'{config.type}'", variant.module)
    record(module, variant, entry)
    for extension in extensions.of("noether_after_build"):
        replaced = extension.call("noether_after_build", module=module, config=config)
        if replaced is not None:
            module = _keeping(
                replaced, config, label(extension.entry), "what noether_after_build returns"
            )
            record(module, variant, entry)
    return module


def _keeping(module: Any, config: AttentionConfig, plugin: str, name: str) -> nn.Module:
    """Return *module*, which *plugin* made and *name* names, if it is one and keeps its config."""
    from torch import nn

    if not isinstance(module, nn.Module):
        raise PluginError(plugin, f"{name} is no torch.nn.Module: {shown(module)}")
    if getattr(module, "config", None) != config:
        raise PluginError(
            plugin, f"{name} does not keep the config that it is made from as 'config'"
        )
    return module


def _structured(source: object, options: Mapping[str, Any], known: Registry) -> AttentionConfig:
    """Return the config of *source* with *options*; a concrete one keeps its class, whoever else
    has its type.
    """
    cls = (
        type(source)
        if isinstance(source, AttentionConfig) and "type" not in options
        else AttentionConfig
    )
    if isinstance(source, str):
        source = {"type": source}
    if isinstance(source, AttentionConfig) and options:
        source = unstructure(source)
    if isinstance(source, Mapping) and options:
        source = {**resolved(source), **options}
    return structure(source, cls, registry=known)


def _module_class(variant: AttentionVariant, label: str) -> type[nn.Module]:
    """Import the class of a variant's module; torch comes with it."""
    try:
        from torch import nn
    except ModuleNotFoundError as error:
        raise MissingExtraError("building a module", error.name or "torch", "torch") from error

    found = import_object(variant.module, label)
    if not isinstance(found, type) or not issubclass(found, nn.Module):
        raise PluginError(label, f"{variant.module} is no subclass of torch.nn.Module")
    return found
