"""Attention variants as plugins: a config's ``type`` names one, and `build` makes its module.

Every name here is imported on first use, so that ``import noether_core`` costs next to nothing. For
pytest, which would compile the whole package anew since its plugin lies within:
PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take for typing's; importing that would be most of this import's cost
if TYPE_CHECKING:
    from typing import Any

    from noether_core.any_attention import AnyAttention
    from noether_core.building import build
    from noether_core.errors import (
        AmbiguousTypeError,
        CacheError,
        ConfigError,
        DerivativeError,
        MaskError,
        NoetherError,
        PluginError,
        Problem,
        ProvenanceError,
        ProvenanceWarning,
        SavedModuleError,
        ShapeError,
        TokenGroupError,
        UnknownTypeError,
        UnsavableModuleError,
        UnsupportedArgumentError,
        UnsupportedBackendError,
    )
    from noether_core.hookspecs import AttentionVariant, hookimpl, hookspec_version
    from noether_core.locking.checking import load_locked
    from noether_core.plugins.registry import Registry, registry
    from noether_core.provenance import Provenance, provenance_of
    from noether_core.saving.loading import load_module
    from noether_core.saving.writing import save
    from noether_core.schemas import AttentionConfig, AttentionPattern, TokenSpec
    from noether_core.structuring.blocks import structure_block
    from noether_core.structuring.json_schema import json_schema
    from noether_core.structuring.load import dump, load
    from noether_core.structuring.structure import structure, unstructure

_HOMES = {
    "AnyAttention": "any_attention",
    "build": "building",
    **dict.fromkeys(("dump", "load"), "structuring.load"),
    "json_schema": "structuring.json_schema",
    "load_locked": "locking.checking",
    "load_module": "saving.loading",
    "save": "saving.writing",
    "structure_block": "structuring.blocks",
    **dict.fromkeys(("structure", "unstructure"), "structuring.structure"),
    **dict.fromkeys(("AttentionConfig", "AttentionPattern", "TokenSpec"), "schemas"),
    **dict.fromkeys(("AttentionVariant", "hookimpl", "hookspec_version"), "hookspecs"),
    **dict.fromkeys(("Provenance", "provenance_of"), "provenance"),
    **dict.fromkeys(("Registry", "registry"), "plugins.registry"),
    **dict.fromkeys(
        (
            "AmbiguousTypeError",
            "CacheError",
            "ConfigError",
            "DerivativeError",
            "MaskError",
            "NoetherError",
            "PluginError",
            "Problem",
            "ProvenanceError",
            "ProvenanceWarning",
            "SavedModuleError",
            "ShapeError",
            "TokenGroupError",
            "UnknownTypeError",
            "UnsavableModuleError",
            "UnsupportedArgumentError",
            "UnsupportedBackendError",
        ),
        "errors",
    ),
}

__all__ = [
    "AmbiguousTypeError",
    "AnyAttention",
    "AttentionConfig",
    "AttentionPattern",
    "AttentionVariant",
    "CacheError",
    "ConfigError",
    "DerivativeError",
    "MaskError",
    "NoetherError",
    "PluginError",
    "Problem",
    "Provenance",
    "ProvenanceError",
    "ProvenanceWarning",
    "Registry",
    "SavedModuleError",
    "ShapeError",
    "TokenGroupError",
    "TokenSpec",
    "UnknownTypeError",
    "UnsavableModuleError",
    "UnsupportedArgumentError",
    "UnsupportedBackendError",
    "build",
    "dump",
    "hookimpl",
    "hookspec_version",
    "json_schema",
    "load",
    "load_locked",
    "load_module",
    "provenance_of",
    "registry",
    "save",
    "structure",
    "structure_block",
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
