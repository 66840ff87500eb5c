"""How attention to keys that come in chunks is merged, exactly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from noether_core.errors import DerivativeError
from noether_core.nn.operators import dtype_of_results, dtype_of_sums, without_autocast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from noether_core.schemas import Backend


class KeyChunk(NamedTuple):
    """Some of the keys."""

    keys: Tensor
    """``(batch, heads, keys, head_dim)``."""

    values: Tensor
    """``(batch, heads, keys, head_dim)``."""

    mask: Tensor | None
    """What `combine_masks` returns for these keys."""


def attend_to_chunks(
    queries: Tensor,
    chunks: Iterable[KeyChunk],
    *,
    scale: float | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Return what `attend` returns for all keys together, holding one chunk of them at a time.

    Each chunk gives an attention of its own and the logarithm of its sum of weights. Two such parts
    are one, ``o = o1 + w (o2 - o1)``, with the share ``w = sigmoid(log sum2 - log sum1)`` of the
    second in the sum of both.

    Milakov and Gimelshein, Online normalizer calculation for softmax, 2018 (arXiv 1805.02867).

    Args:
        queries: ``(batch, heads, queries, head_dim)``.
        chunks: The keys, in any order; each chunk is used before the next is made.
        scale: Factor of the logits; ``1 / sqrt(head_dim)`` where it is None.
        backend: As in `attend`. Whatever it says, a part is computed by a fused kernel only where
            one returns the sum.

    Returns:
        ``(batch, heads, queries, head_dim)``; zeros for a query that may attend to no key.

    Raises:
        DerivativeError: If a gradient is to flow through it, of which there is none.
    """
    queries = queries.to(dtype_of_results(queries))
    scale = 1 / math.sqrt(queries.shape[-1]) if scale is None else scale
    attend_to = _attend_fused if has_fused_kernel(queries, backend) else _attend_by_products

    dtype = dtype_of_sums(queries.dtype)
    attended = queries.new_zeros(queries.shape, dtype=dtype)
    log_sums = queries.new_full((*queries.shape[:-1], 1), -math.inf, dtype=dtype)
    for keys, values, mask in chunks:
        if not queries.numel() or not keys.numel():
            continue
        part = attend_to(queries, keys.to(queries), values.to(queries), mask, scale)
        # Where neither has attended to a key, the difference is not a number.
        share = (part.log_sums - log_sums).nan_to_num().sigmoid()
        attended.lerp_(part.attended, share)
        log_sums = torch.logaddexp(log_sums, part.log_sums)

    if attended.requires_grad:
        raise DerivativeError(
            "attention to chunks of keys has no gradient; call attend with all keys together"
        )
    return attended.to(queries.dtype)


def has_fused_kernel(x: Tensor, backend: Backend) -> bool:
    """Return whether a kernel computes parts that makes nothing of size queries times keys."""
    return x.device.type == "cpu" and backend != "math" and _KERNEL is not None


_KERNEL: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
"""What ``scaled_dot_product_attention`` calls on a CPU, with the logarithm of sums that it does not
return.
"""


class _Part(NamedTuple):
    """The attention to some keys."""

    attended: Tensor
    """``(batch, heads, queries, head_dim)``, in the bits of sums."""

    log_sums: Tensor
    """``(batch, heads, queries, 1)``: the logarithm of the sum of weights of each query."""


def _attend_fused(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float
) -> _Part:
    """Attend to some keys, and hold no logits."""
    added = mask
    if mask is not None and mask.dtype == torch.bool:
        added = _as_numbers(mask, queries.dtype)
    elif mask is not None:
        added = mask.to(queries.dtype)

    attended, log_sums = _KERNEL(queries, keys, values, attn_mask=added, scale=scale)
    log_sums = log_sums.unsqueeze(-1)
    if added is not None:
        # The kernel returns zero where a query attends to none of the keys.
        is_hidden = (added == -math.inf).all(-1, keepdim=True)
        log_sums = log_sums.masked_fill(is_hidden, -math.inf)
    return _Part(attended.to(log_sums.dtype), log_sums)


def _attend_by_products(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float
) -> _Part:
    """Attend to some keys by products of matrices, with the logits in memory."""
    wide = dtype_of_sums(queries.dtype)
    with without_autocast(queries.device):
        logits = queries.to(wide).mul(scale) @ keys.to(wide).transpose(-2, -1)
        if mask is not None:
            logits += mask if mask.dtype != torch.bool else _as_numbers(mask, wide)
        log_sums = logits.logsumexp(-1, keepdim=True)
        # Minus infinity minus itself is not a number.
        finite = log_sums.masked_fill(log_sums == -math.inf, 0.0)
        weights = logits.sub_(finite).exp_()
        return _Part(weights @ values.to(wide), log_sums)


def _as_numbers(mask: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros((), dtype=dtype, device=mask.device).where(mask, -math.inf)
