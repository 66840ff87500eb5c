"""What building costs over making the same layers bare, both on the meta device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from noether_core import build, registry, structure
from tests.benchmarks.pairs import Claim, compare

_SIZES = {"hidden_dim": 256, "num_heads": 8}
_BUDGET = 1.3


def claims(*, quick: bool) -> list[Claim]:
    """Measure every built-in variant from a config, and from a mapping that is checked first."""
    effort: dict[str, int] = {"rounds": 2, "calls": 1} if quick else {"rounds": 31, "calls": 5}
    entries = [
        entry for entry in registry().providers() if entry.distribution == "noether-attention"
    ]
    options = {
        entry.name: {**registry().get(entry.name).example, **_SIZES, "type": entry.name}
        for entry in entries
    }
    return [claim for name, each in options.items() for claim in _of_variant(name, each, effort)]


def _of_variant(type: str, options: Mapping[str, Any], effort: dict[str, int]) -> list[Claim]:
    config = structure(options)
    bare = bare_layers(_on_meta(lambda: build(config))())
    return [
        compare(
            f"build {type} from {name} / its layers",
            _BUDGET,
            _on_meta(make),
            _on_meta(bare),
            **effort,
        )
        for name, make in (
            ("a config", lambda: build(config)),
            ("a mapping", lambda: build(options)),
        )
    ]


def _on_meta(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def made() -> nn.Module:
        with torch.device("meta"):
            return make()

    return made


def bare_layers(module: nn.Module) -> Callable[[], nn.Module]:
    """Return what makes the tree of *module* again.

    The same layers of torch stand in it under the same names, and nothing else.
    """
    if own := _layer(module):
        return own
    children = {name: bare_layers(child) for name, child in module.named_children()}
    shapes = {name: parameter.shape for name, parameter in module.named_parameters(recurse=False)}

    def make() -> nn.Module:
        made = nn.Module()
        for name, shape in shapes.items():
            made.register_parameter(name, nn.Parameter(torch.empty(shape)))
        for name, child in children.items():
            made.add_module(name, child())
        return made

    return make


def _layer(module: nn.Module) -> Callable[[], nn.Module] | None:
    """Return what makes a layer of torch again; None for what holds layers."""
    match module:
        case nn.Linear(in_features=width, out_features=out, bias=bias):
            return lambda: nn.Linear(width, out, bias=bias is not None)
        case nn.RMSNorm(normalized_shape=shape):
            return lambda: nn.RMSNorm(shape)
        case nn.LayerNorm(normalized_shape=shape):
            return lambda: nn.LayerNorm(shape)
        case nn.Dropout(p=rate):
            return lambda: nn.Dropout(rate)
        case nn.GELU():
            return nn.GELU
    return None
