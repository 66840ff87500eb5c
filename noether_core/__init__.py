"""Attention variants as plugins: a config's ``type`` names one, and `build` makes its module.

Every name here is imported on first use, so that ``import noether_core`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noether_core.building import build
    from noether_core.errors import (
        AmbiguousTypeError,
        ConfigError,
        NoetherError,
        PluginError,
        Problem,
        ShapeError,
        UnknownTypeError,
        UnsupportedArgumentError,
    )
    from noether_core.hookspecs import AttentionVariant, hookimpl, hookspec_version
    from noether_core.plugins import Registry, registry
    from noether_core.schemas import AttentionConfig, AttentionPattern, TokenSpec
    from noether_core.structuring import dump, json_schema, load, structure, unstructure

_HOMES = {
    "build": "building",
    **dict.fromkeys(("dump", "json_schema", "load", "structure", "unstructure"), "structuring"),
    **dict.fromkeys(("AttentionConfig", "AttentionPattern", "TokenSpec"), "schemas"),
    **dict.fromkeys(("AttentionVariant", "hookimpl", "hookspec_version"), "hookspecs"),
    **dict.fromkeys(("Registry", "registry"), "plugins"),
    **dict.fromkeys(
        (
            "AmbiguousTypeError",
            "ConfigError",
            "NoetherError",
            "PluginError",
            "Problem",
            "ShapeError",
            "UnknownTypeError",
            "UnsupportedArgumentError",
        ),
        "errors",
    ),
}

__all__ = [
    "AmbiguousTypeError",
    "AttentionConfig",
    "AttentionPattern",
    "AttentionVariant",
    "ConfigError",
    "NoetherError",
    "PluginError",
    "Problem",
    "Registry",
    "ShapeError",
    "TokenSpec",
    "UnknownTypeError",
    "UnsupportedArgumentError",
    "build",
    "dump",
    "hookimpl",
    "hookspec_version",
    "json_schema",
    "load",
    "registry",
    "structure",
    "unstructure",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
