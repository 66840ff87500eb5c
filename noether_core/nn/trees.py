"""How torch's compilers look into groups and patterns: sizes are inputs of a graph, names belong to
it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch.utils import _pytree as pytree  # nothing public registers a class that is no dataclass

from noether_core.schemas.modules.attention import AttentionPattern, TokenSpec

T = TypeVar("T")


def register_groups() -> None:
    """Let `TokenSpec` and `AttentionPattern` be inputs of ``torch.export``, and of files that it
    wrote.

    The size of a group may be dynamic there, as that of an axis of a tensor may.
    """
    if TokenSpec in pytree.SUPPORTED_NODES:
        return
    pytree.register_pytree_node(
        TokenSpec,
        lambda spec: ([spec.size], spec.name),
        _spec_of,
        serialized_type_name="noether_core.TokenSpec",
        flatten_with_keys_fn=lambda spec: ([(pytree.GetAttrKey("size"), spec.size)], spec.name),
    )
    pytree.register_pytree_node(
        AttentionPattern,
        lambda pattern: ([], [list(pattern.query_tokens), list(pattern.key_value_tokens)]),
        _pattern_of,
        serialized_type_name="noether_core.AttentionPattern",
        flatten_with_keys_fn=lambda pattern: (
            [],
            [list(pattern.query_tokens), list(pattern.key_value_tokens)],
        ),
    )
    torch.serialization.add_safe_globals(
        [TokenSpec, AttentionPattern]
    )  # files keep the arguments of an example


def _spec_of(leaves: Iterable[Any], name: str) -> TokenSpec:
    """Return the group of that *name*, unchecked: its size may be a symbol, or whatever a tree of
    leaves holds.
    """
    (size,) = leaves
    return _made(TokenSpec, name=name, size=size)


def _pattern_of(_: Iterable[Any], names: list[list[str]]) -> AttentionPattern:
    queries, keys = names
    return _made(AttentionPattern, query_tokens=tuple(queries), key_value_tokens=tuple(keys))


def _made(kind: type[T], **values: Any) -> T:
    made = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made
