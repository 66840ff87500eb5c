"""Attention under masks, in which a query without a key reads zeros."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from noether_core.schemas import Backend


def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    attn_mask: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    dropout: float = 0.0,
    scale: float | None = None,
    backend: Backend = "auto",  # noqa: ARG001
) -> Tensor:
    """Return ``softmax(scale * queries keys^T) values`` for every head.

    A query that may read no key, because of the masks or because there are none, reads zeros, and no gradient flows
    through it. Without *attn_mask* and *dropout* nothing of size queries times keys is made.

    Vaswani et al., Attention Is All You Need, 2017 (arXiv 1706.03762), equation 1.

    Args:
        queries: ``(batch, heads, queries, head_dim)``.
        keys: ``(batch, heads, keys, head_dim)``.
        values: ``(batch, heads, keys, head_dim)``.
        attn_mask: Broadcasts to ``(batch, heads, queries, keys)``. Booleans, True where a query reads a key; or numbers
            added to the logits, minus infinity where it does not.
        key_padding_mask: ``(batch, keys)`` booleans, True for real tokens. No query reads another one.
        dropout: Probability of dropping a weight; 0 outside training.
        scale: Factor of the logits; ``1 / sqrt(head_dim)`` where it is None.

    Returns:
        ``(batch, heads, queries, head_dim)``.
    """
    mask = combine_masks(attn_mask, key_padding_mask)
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(queries.dtype)
    return functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask, dropout_p=dropout, scale=scale
    )


def combine_masks(attn_mask: Tensor | None, key_padding_mask: Tensor | None) -> Tensor | None:
    """Return one mask with four axes that hides what either mask hides, or None where there is none.

    Args:
        attn_mask: As in `attend`; a boolean one stays boolean.
        key_padding_mask: As in `attend`.

    Returns:
        A mask that broadcasts to ``(batch, heads, queries, keys)``; with padding alone, ``(batch, 1, 1, keys)``.
    """
    if attn_mask is not None:
        # The fast kernels take masks with all four axes only.
        attn_mask = attn_mask[(None,) * (4 - attn_mask.dim())]
    if key_padding_mask is None:
        return attn_mask

    real = key_padding_mask[:, None, None, :]
    if attn_mask is None:
        return real
    if attn_mask.dtype == torch.bool:
        return attn_mask & real
    return attn_mask.masked_fill(~real, float("-inf"))
