"""Scaled dot-product attention: one call for every mask and backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from noether_core.nn.flex import attend_by_flex
from noether_core.nn.kernels import kernel_of
from noether_core.nn.masks import combine_masks
from noether_core.nn.structured_attention import (
    AttentionCall,
    attend_packed_at_once,
    attend_structured,
    is_packed_at_once,
)

if TYPE_CHECKING:
    from noether_core.nn.masks import StructuredMask
    from noether_core.schemas import Backend


def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    attn_mask: Tensor | StructuredMask | None = None,
    key_padding_mask: Tensor | None = None,
    dropout: float = 0.0,
    scale: float | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Return ``softmax(scale * queries keys^T) values`` for every head.

    A query that may attend to no key, because of the masks or because there are none, gets zeros,
    and no gradient flows through it. Without a tensor as *attn_mask*, *dropout* and ``"math"``,
    nothing of size queries times keys is made.

    Vaswani et al., Attention Is All You Need, 2017 (arXiv 1706.03762), equation 1.

    Args:
        queries: ``(batch, heads, queries, head_dim)``.
        keys: ``(batch, heads, keys, head_dim)``.
        values: ``(batch, heads, keys, head_dim)``.
        attn_mask: Broadcasts to ``(batch, heads, queries, keys)``. Booleans, True where a query
            attends to a key; or numbers added to the logits, minus infinity where it does not. Or
            `Causal`, `SlidingWindow` or `Packed`, which are never written out.
        key_padding_mask: ``(batch, keys)`` booleans, True for real tokens. No query attends to
            another one.
        dropout: Probability of dropping a weight; 0 outside training.
        scale: Factor of the logits; ``1 / sqrt(head_dim)`` where it is None.
        backend: Kernel that computes it. ``"sdpa"``: torch's ``scaled_dot_product_attention``,
            which chooses among its own. ``"math"``: torch's math kernel, alone with second
            derivatives and derivatives in forward mode. ``"flex"``: FlexAttention, compiled.
            ``"auto"``: the fastest that serves, which is ``"sdpa"``, and for packed samples in half
            precision on CUDA torch's ``varlen_attn``.

    Returns:
        ``(batch, heads, queries, head_dim)``.

    Raises:
        UnsupportedBackendError: If the backend cannot serve the request.
    """
    if backend == "flex" and not torch.onnx.is_in_onnx_export():
        return attend_by_flex(
            queries,
            keys,
            values,
            mask=attn_mask,
            key_padding_mask=key_padding_mask,
            dropout=dropout,
            scale=scale,
        )
    # A graph of ONNX computes by operators of its own, whichever kernel of torch would.
    kernel = kernel_of("auto" if backend == "flex" else backend)

    if attn_mask is None or isinstance(attn_mask, Tensor):
        mask = combine_masks(attn_mask, key_padding_mask)
        if mask is not None and mask.dtype != torch.bool:
            mask = mask.to(queries.dtype)
        return kernel(queries, keys, values, mask, dropout, scale=scale)

    if backend == "auto" and is_packed_at_once(attn_mask, queries, key_padding_mask, dropout):
        return attend_packed_at_once(attn_mask, queries, keys, values, scale=scale)
    call = AttentionCall(queries, keys, values, key_padding_mask, kernel, dropout, scale)
    return attend_structured(attn_mask, call)
