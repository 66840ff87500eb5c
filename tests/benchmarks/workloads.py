"""Steps of every built-in variant, and of what others offer, on the same numbers of tokens."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from noether_core import TokenSpec, build, registry
from tests.benchmarks.machine import device
from tests.benchmarks.straightforward import FORMS

Fact = Literal["forward", "forward and backward"]


def fact_of(backward: bool) -> Fact:
    """Return what is measured: a call alone, or with its backward pass."""
    return "forward and backward" if backward else "forward"


SIZES = {"hidden_dim": 256, "num_heads": 8}

FAMILIES = {
    "dot_product": "full",
    "mixed": "full",
    "perceiver": "cross",
    "transolver": "slices",
    "transolver_plusplus": "slices",
    "flare": "latents",
    "flare_plusplus": "latents",
    "gale": "slices",
    "gale_flare": "latents",
    "linear": "sums",
    "galerkin": "sums",
    "induced_set": "latents",
    "irregular_nat": "neighbours",
    "self_anchor": "anchors",
    "cross_anchor": "anchors",
    "joint_anchor": "anchors",
}
"""The picture in which each variant is drawn."""

_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "transolver": {"num_slices": 64},
    "transolver_plusplus": {"num_slices": 64},
    "flare": {"num_latents": 64},
    "flare_plusplus": {"num_latents": 64},
    "gale": {"num_slices": 64},
    "gale_flare": {"num_latents": 64},
    "induced_set": {"num_latents": 64},
    "irregular_nat": {"max_degree": 16, "radius": 1.0},
    "self_anchor": {"branches": ("surface", "volume")},
}
"""Options that other sizes than those of the smallest example need."""

_READERS = 1024
"""Queries of cross attention, whose number does not grow with that of the keys."""

_NEIGHBOURS = 16
"""Points within the radius of another, about."""

TORCH, X_TRANSFORMERS = "torch.nn.MultiheadAttention", "x-transformers"


def variants() -> list[str]:
    """Return the variants that ship with Noether."""
    return [
        entry.name for entry in registry().providers() if entry.distribution == "noether-attention"
    ]


def peers() -> list[str]:
    """Return what there is to compare with; x-transformers comes with the extra ``benchmark``."""
    return [TORCH, X_TRANSFORMERS] if importlib.util.find_spec("x_transformers") else [TORCH]


def step(name: str, fact: Fact, tokens: int, *, is_cross: bool = False) -> Callable[[], object]:
    """Return what is measured of a variant, or of what it is compared with.

    Args:
        name: A variant, one of `peers`, or a family, which means its straightforward form.
        fact: What is measured.
        tokens: Tokens that are read.
        is_cross: Whether a peer reads them for other tokens, as the interface *cross* does.
    """
    torch.manual_seed(0)
    if name in peers():
        return running(*_peer(name, tokens, is_cross=is_cross), fact)
    return running(
        *(_straightforward(name, tokens) if name in FORMS else variant(name, tokens)), fact
    )


def running(module: nn.Module, arguments: Mapping[str, Any], fact: Fact) -> Callable[[], object]:
    """Return the call of a module, in evaluation or in training.

    In training, gradients of parameters and tokens are made afresh.
    """
    module.train(fact != "forward")
    if fact == "forward":
        return torch.inference_mode()(lambda: module(**arguments))
    inputs = {
        value for value in arguments.values() if isinstance(value, Tensor) and value.requires_grad
    }
    leaves = [*inputs, *module.parameters()]

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        module(**arguments).sum().backward()

    return run


def variant(name: str, tokens: int) -> tuple[nn.Module, dict[str, Any]]:
    """Return a variant in training, and arguments for so many tokens, which get gradients."""
    record = registry().get(name)
    module = build(name, **{**record.example, **SIZES, **_OPTIONS.get(name, {})}).to(device())
    if record.interface == "cross":
        return module, {"q": _numbers(_READERS), "kv": _numbers(tokens)}
    arguments: dict[str, Any] = {"x": _numbers(tokens)}
    if record.interface == "tokens":
        arguments["token_specs"] = _groups(tokens)
    if "positions" in record.capabilities:
        arguments["positions"] = _points(tokens)
    return module, arguments


def _straightforward(family: str, tokens: int) -> tuple[nn.Module, dict[str, Any]]:
    """Return the straightforward form of a family, and what its first variant takes."""
    first = next(name for name, drawn in FAMILIES.items() if drawn == family)
    module, arguments = variant(first, tokens)
    return FORMS[family](module.config).to(device()), arguments


def _peer(name: str, tokens: int, *, is_cross: bool) -> tuple[nn.Module, dict[str, Any]]:
    width, heads = SIZES["hidden_dim"], SIZES["num_heads"]
    x = _numbers(tokens)
    queries = _numbers(_READERS) if is_cross else x
    if name == X_TRANSFORMERS:
        from x_transformers.x_transformers import Attention

        module = Attention(dim=width, heads=heads, dim_head=width // heads, flash=True).to(device())
        return module, {"x": queries, "context": x} if is_cross else {"x": x}
    return _First(nn.MultiheadAttention(width, heads, batch_first=True).to(device())), {
        "query": queries,
        "key": x,
        "value": x,
        "need_weights": False,
    }


class _First(nn.Module):
    """Returns the first of what a module returns: the result, without weights of attention."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, **arguments: Any) -> Any:
        return self.module(**arguments)[0]


def _numbers(tokens: int) -> Tensor:
    return torch.randn(1, tokens, SIZES["hidden_dim"], device=device(), requires_grad=True)


def _points(tokens: int) -> Tensor:
    """Return points of which about as many are within a distance of one, however many there are."""
    volume = tokens * (4 / 3 * torch.pi) / _NEIGHBOURS
    return torch.rand(1, tokens, 3, device=device()) * volume ** (1 / 3)


def _groups(tokens: int) -> list[TokenSpec]:
    """Return two branches, a fifth of each its anchors."""
    anchors, half = tokens // 10, tokens // 2
    sizes = {
        "surface_anchors": anchors,
        "surface_queries": half - anchors,
        "volume_anchors": anchors,
        "volume_queries": tokens - half - anchors,
    }
    return [TokenSpec(name=name, size=size) for name, size in sizes.items()]
