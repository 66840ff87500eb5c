"""Attention variants as plugins: a config's ``type`` names one, and `build` makes its module.

Every name here is imported on first use, so that ``import noether_core`` costs next to nothing.
Errors that are not here are imported from `noether_core.errors`. For pytest, which would compile
the whole package anew since its plugin lies within: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

__version__ = "0.1.0"

# Type checkers take this for typing's constant, whose import would cost more than all else here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from noether_core.any_attention import AnyAttention as AnyAttention
    from noether_core.building import build as build
    from noether_core.errors import AmbiguousTypeError as AmbiguousTypeError
    from noether_core.errors import ConfigError as ConfigError
    from noether_core.errors import MaskError as MaskError
    from noether_core.errors import NoetherError as NoetherError
    from noether_core.errors import PluginError as PluginError
    from noether_core.errors import Problem as Problem
    from noether_core.errors import ShapeError as ShapeError
    from noether_core.errors import TokenGroupError as TokenGroupError
    from noether_core.errors import UnknownTypeError as UnknownTypeError
    from noether_core.hookspecs import AttentionVariant as AttentionVariant
    from noether_core.hookspecs import hookimpl as hookimpl
    from noether_core.hookspecs import hookspec_version as hookspec_version
    from noether_core.plugins.registry import Registry as Registry
    from noether_core.plugins.registry import registry as registry
    from noether_core.provenance import Provenance as Provenance
    from noether_core.provenance import provenance_of as provenance_of
    from noether_core.saving.loading import load_module as load_module
    from noether_core.saving.writing import save as save
    from noether_core.schemas import AttentionConfig as AttentionConfig
    from noether_core.schemas import AttentionPattern as AttentionPattern
    from noether_core.schemas import TokenSpec as TokenSpec
    from noether_core.schemas.unstructure import unstructure as unstructure
    from noether_core.structuring.blocks import structure_block as structure_block
    from noether_core.structuring.json_schema import json_schema as json_schema
    from noether_core.structuring.load import dump as dump
    from noether_core.structuring.load import load as load
    from noether_core.structuring.structure import structure as structure
    from noether_core.task_record import TaskRecord as TaskRecord

# The same names for run time, each with the module below this one that it is imported from.
_MODULES = {
    "AnyAttention": "any_attention",
    "build": "building",
    "AmbiguousTypeError": "errors",
    "ConfigError": "errors",
    "MaskError": "errors",
    "NoetherError": "errors",
    "PluginError": "errors",
    "Problem": "errors",
    "ShapeError": "errors",
    "TokenGroupError": "errors",
    "UnknownTypeError": "errors",
    "AttentionVariant": "hookspecs",
    "hookimpl": "hookspecs",
    "hookspec_version": "hookspecs",
    "Registry": "plugins.registry",
    "registry": "plugins.registry",
    "Provenance": "provenance",
    "provenance_of": "provenance",
    "load_module": "saving.loading",
    "save": "saving.writing",
    "AttentionConfig": "schemas",
    "AttentionPattern": "schemas",
    "TokenSpec": "schemas",
    "structure_block": "structuring.blocks",
    "json_schema": "structuring.json_schema",
    "dump": "structuring.load",
    "load": "structuring.load",
    "structure": "structuring.structure",
    "TaskRecord": "task_record",
    "unstructure": "schemas.unstructure",
}

__all__ = sorted(_MODULES)  # noqa: PLE0605  derived, so that no name stands here a third time


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    try:
        module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from noether_core.errors import MissingExtraError

        raise MissingExtraError(name, "torch", "torch") from error
    globals()[name] = getattr(module, name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
