"""Scaled dot-product attention: one call for every mask and backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from noether_core.nn.causal import attend_causally
from noether_core.nn.flex import attend_by_flex
from noether_core.nn.kernels import kernel_of
from noether_core.nn.packed import attend_packed, attend_packed_at_once, is_packed_at_once
from noether_core.nn.structured_masks import Causal, Packed, SlidingWindow, StructuredMask
from noether_core.nn.windows import attend_in_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from noether_core.schemas import Backend


def combine_masks(attn_mask: Tensor | None, key_padding_mask: Tensor | None) -> Tensor | None:
    """Return one mask with four axes that hides what either mask hides, or None where there is
    none.

    Args:
        attn_mask: As in `noether_core.nn.attend`; a boolean one stays boolean.
        key_padding_mask: As in `noether_core.nn.attend`.

    Returns:
        A mask that broadcasts to ``(batch, heads, queries, keys)``; with padding alone, ``(batch,
        1, 1, keys)``.
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

    A query that may read no key, because of the masks or because there are none, reads zeros, and
    no gradient flows through it. Without a tensor as *attn_mask*, *dropout* and ``"math"``, nothing
    of size queries times keys is made.

    Vaswani et al., Attention Is All You Need, 2017 (arXiv 1706.03762), equation 1.

    Args:
        queries: ``(batch, heads, queries, head_dim)``.
        keys: ``(batch, heads, keys, head_dim)``.
        values: ``(batch, heads, keys, head_dim)``.
        attn_mask: Broadcasts to ``(batch, heads, queries, keys)``. Booleans, True where a query
            reads a key; or numbers added to the logits, minus infinity where it does not. Or
            `Causal`, `SlidingWindow` or `Packed`, which are never written out.
        key_padding_mask: ``(batch, keys)`` booleans, True for real tokens. No query reads another
            one.
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
    if backend == "flex":
        return attend_by_flex(
            queries,
            keys,
            values,
            mask=attn_mask,
            real=key_padding_mask,
            dropout=dropout,
            scale=scale,
        )
    kernel = kernel_of(backend)

    if attn_mask is None or isinstance(attn_mask, Tensor):
        mask = combine_masks(attn_mask, key_padding_mask)
        if mask is not None and mask.dtype != torch.bool:
            mask = mask.to(queries.dtype)
        return kernel(queries, keys, values, mask, dropout, scale=scale)

    if backend == "auto" and is_packed_at_once(attn_mask, queries, key_padding_mask, dropout):
        return attend_packed_at_once(attn_mask, queries, keys, values, scale=scale)
    structured = _STRUCTURED[type(attn_mask)]
    return structured(
        attn_mask,
        queries,
        keys,
        values,
        real=key_padding_mask,
        kernel=kernel,
        dropout=dropout,
        scale=scale,
    )


_STRUCTURED: Final[Mapping[type, Callable[..., Tensor]]] = {
    Causal: attend_causally,
    SlidingWindow: attend_in_windows,
    Packed: attend_packed,
}
"""How attention under each structured mask falls into attention that kernels know."""
