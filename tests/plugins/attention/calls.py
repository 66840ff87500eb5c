"""How modules of each interface are called: sound arguments of any size, for every installed
variant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from noether_core import AttentionPattern, TokenSpec, build, registry
from noether_core.nn import KVCache
from noether_core.schemas.schema import plan_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

BATCH, HEADS, TOKENS, WIDTH, KEYS = 2, 3, 11, 5, 7
HIDDEN = HEADS * WIDTH
CONTEXT_WIDTH = 13
GROUPS = ("surface_queries", "surface_anchors", "volume_queries", "volume_anchors")
"""Groups of tokens; anchors stand last, where padding does."""

VARIANTS = {name: registry().get(name) for name in registry().types()}

STREAMED = {
    name: {"chunk_size": 4}
    for name, variant in VARIANTS.items()
    if "chunk_size" in plan_of(variant.config).options
}
"""Variants that compute tokens chunk by chunk, with options by which they do for a few of them."""


def having(capability: str) -> list[str]:
    """Return the variants that promise something."""
    return [name for name, variant in VARIANTS.items() if capability in variant.capabilities]


def of_interface(interface: str) -> list[str]:
    return [name for name, variant in VARIANTS.items() if variant.interface == interface]


def options_of(name: str, **options: Any) -> dict[str, Any]:
    """Return options in which every size is another prime; anchor attention gets two branches.

    What may take a context takes none.
    """
    declared = plan_of(VARIANTS[name].config).options
    sizes = {"hidden_dim": HIDDEN, "num_heads": HEADS}
    branches = {"branches": ["surface", "volume"]} if "branches" in declared else {}
    without_context = {"context_dim": None} if "context_dim" in declared else {}
    return {**VARIANTS[name].example, **sizes, **branches, **without_context, **options}


def make(name: str, **options: Any) -> nn.Module:
    """Return a module whose weights are large enough for attention to matter."""
    return build(name, **options_of(name, **{"init_weights": "xavier", **options}))


def arguments_of(
    name: str, dtype: torch.dtype = torch.float64, count: int = TOKENS
) -> dict[str, Any]:
    """Return what the variant cannot be called without, for *count* tokens."""
    return _ARGUMENTS[VARIANTS[name].interface](name, dtype, count)


def specs_of(count: int) -> list[TokenSpec]:
    """Return groups of *count* tokens: two of queries and one of anchors with up to two each, and
    the rest anchors.
    """
    sizes = []
    for _ in GROUPS[:-1]:
        sizes.append(min(2, count - sum(sizes)))
    return [TokenSpec(*group) for group in zip(GROUPS, [*sizes, count - sum(sizes)], strict=True)]


def _self_arguments(name: str, dtype: torch.dtype, count: int) -> dict[str, Any]:
    arguments = {"x": torch.randn(BATCH, count, HIDDEN, dtype=dtype)}
    if "positions" in VARIANTS[name].capabilities:
        arguments["positions"] = torch.rand(
            BATCH, count, VARIANTS[name].example["input_dim"], dtype=dtype
        )
    return arguments


def _cross_arguments(_: str, dtype: torch.dtype, count: int) -> dict[str, Any]:
    queries = torch.randn(BATCH, KEYS, HIDDEN, dtype=dtype)
    return {"q": queries, "kv": torch.randn(BATCH, count, HIDDEN, dtype=dtype)}


def _tokens_arguments(_: str, dtype: torch.dtype, count: int) -> dict[str, Any]:
    return {"x": torch.randn(BATCH, count, HIDDEN, dtype=dtype), "token_specs": specs_of(count)}


_ARGUMENTS: dict[str, Callable[[str, torch.dtype, int], dict[str, Any]]] = {
    "self": _self_arguments,
    "cross": _cross_arguments,
    "tokens": _tokens_arguments,
}


def key_argument(name: str) -> str:
    """Return the argument whose tokens have keys, and which a padding mask is about."""
    return "kv" if VARIANTS[name].interface == "cross" else "x"


def each_tensor(function: Callable[[Tensor], Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Return *arguments* with every tensor replaced by what *function* makes of it."""
    return {
        key: function(value) if isinstance(value, torch.Tensor) else value
        for key, value in arguments.items()
    }


def shortened(name: str, arguments: dict[str, Any], count: int) -> dict[str, Any]:
    """Return a call with the first *count* of the tokens that have keys."""
    short = {**arguments, key_argument(name): arguments[key_argument(name)][:, :count]}
    if "positions" in short:
        short["positions"] = short["positions"][:, :count]
    if "token_specs" in short:
        short["token_specs"] = specs_of(count)
    return short


def _turns(count: int) -> Tensor:
    return torch.polar(torch.ones(BATCH, count, WIDTH // 2), torch.rand(BATCH, count, WIDTH // 2))


def optional_arguments(name: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return, for each argument that the interface offers, its capability and a value that changes
    the result.

    The value may bring others, without which it means nothing.
    """
    real = {"key_padding_mask": torch.arange(TOKENS) < torch.tensor([[7], [5]])}
    return {
        "self": {
            "attn_mask": ("attn_mask", {"attn_mask": torch.eye(TOKENS, dtype=torch.bool)}),
            "key_padding_mask": ("key_padding_mask", real),
            "freqs": ("rope", {"freqs": _turns(TOKENS)}),
            "positions": ("positions", {"positions": torch.rand(BATCH, TOKENS, 3)}),
            "token_specs": ("token_specs", {"token_specs": specs_of(TOKENS)}),
            "context": ("context", {"context": torch.randn(BATCH, 4, CONTEXT_WIDTH)}),
        },
        "cross": {
            "attn_mask": (
                "attn_mask",
                {"attn_mask": torch.ones(KEYS, TOKENS, dtype=torch.bool).tril()},
            ),
            "key_padding_mask": ("key_padding_mask", real),
            "q_freqs": ("rope", {"q_freqs": _turns(KEYS), "k_freqs": _turns(TOKENS)}),
            "k_freqs": ("rope", {"k_freqs": _turns(TOKENS), "q_freqs": _turns(KEYS)}),
            "kv_cache": ("kv_cache", {"kv_cache": KVCache()}),
        },
        "tokens": {
            "attention_patterns": (
                "attention_patterns",
                {"attention_patterns": [AttentionPattern(GROUPS, ("surface_anchors",))]},
            ),
            "key_padding_mask": ("key_padding_mask", real),
            "freqs": ("rope", {"freqs": _turns(TOKENS)}),
            "kv_cache": ("kv_cache", {"kv_cache": KVCache()}),
        },
    }[VARIANTS[name].interface]
