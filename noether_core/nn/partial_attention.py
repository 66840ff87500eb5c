"""Attention to some of the keys: parts of a softmax, and how chunks of them are merged, exactly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from noether_core.errors import DerivativeError
from noether_core.nn.operators import (
    define_operator,
    dtype_of_results,
    dtype_of_sums,
    is_recorded,
    is_transformed,
    refuse_derivatives,
    without_autocast,
)
from noether_core.nn.summaries import Attended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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

    Args:
        queries: ``(batch, heads, queries, head_dim)``.
        chunks: The keys, in any order; each chunk is used before the next is made.
        scale: Factor of the logits; ``1 / sqrt(head_dim)`` where it is None.
        backend: As in `attend_to_part`.

    Returns:
        ``(batch, heads, queries, head_dim)``; zeros for a query that may attend to no key.

    Raises:
        DerivativeError: If a gradient is to flow through it, of which there is none.
    """
    part = merge_chunks(queries, chunks, scale=scale, backend=backend)
    return part.mean.to(dtype_of_results(queries))


def merge_chunks(
    queries: Tensor,
    chunks: Iterable[KeyChunk],
    *,
    scale: float | None = None,
    backend: Backend = "auto",
) -> Attended:
    """Return the same as a part of an attention to more keys than these.

    Each chunk gives an attention of its own and the logarithm of its sum of weights. Two such parts
    are one, ``o = o1 + w (o2 - o1)``, with the share ``w = sigmoid(log sum2 - log sum1)`` of the
    second in the sum of both.

    Milakov and Gimelshein, Online normalizer calculation for softmax, 2018 (arXiv 1805.02867).
    """
    queries = queries.to(dtype_of_results(queries))
    scale = _scale_of(queries, scale)
    attend_to = _attend_fused if has_fused_kernel(queries, backend) else attend_by_products

    merged = _attended_nothing(queries)
    for keys, values, mask in chunks:
        if not queries.numel() or not keys.numel():
            continue
        part = attend_to(queries, keys.to(queries), values.to(queries), mask, scale)
        # Where neither has attended to a key, the difference is not a number.
        share = (part.log_mass - merged.log_mass).nan_to_num().sigmoid()
        merged = Attended(
            merged.mean.lerp_(part.mean, share), torch.logaddexp(merged.log_mass, part.log_mass)
        )

    if merged.mean.requires_grad:
        raise DerivativeError(
            "attention to chunks of keys has no gradient; call attend with all keys together"
        )
    return merged


def attend_to_part(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    key_padding_mask: Tensor | None = None,
    scale: float | None = None,
    backend: Backend = "auto",
) -> Attended:
    """Return the attention to *keys* as a part of one to more keys than these.

    Gradients flow through both of its tensors. ``"math"``, and whatever has no kernel that returns
    sums of weights, makes logits of size queries times keys.

    Args:
        queries: ``(batch, heads, queries, head_dim)``.
        keys: ``(batch, heads, keys, head_dim)``.
        values: ``(batch, heads, keys, head_dim)``.
        key_padding_mask: ``(batch, keys)`` booleans, True for real tokens.
        scale: Factor of the logits; ``1 / sqrt(head_dim)`` where it is None.
        backend: ``"math"`` has derivatives of every order; each other one takes a fused kernel
            where one returns the sum, and products of matrices elsewhere.

    Returns:
        Both in the dtype of sums; zeros and minus infinity where a query may attend to no key.
    """
    queries = queries.to(dtype_of_results(queries))
    keys, values = keys.to(queries), values.to(queries)
    scale = _scale_of(queries, scale)
    mask = None if key_padding_mask is None else key_padding_mask[:, None, None, :]

    is_fused = has_fused_kernel(queries, backend) and not is_transformed()
    if not is_fused or not keys.numel():
        return attend_by_products(queries, keys, values, mask, scale)
    if not is_recorded(queries, keys, values):
        return merge_chunks(queries, [KeyChunk(keys, values, mask)], scale=scale, backend=backend)
    return Attended(*_attend_with_gradients(queries, keys, values, mask, scale))


def has_fused_kernel(x: Tensor, backend: Backend) -> bool:
    """Return whether a kernel computes parts that makes nothing of size queries times keys."""
    return x.device.type == "cpu" and backend != "math" and _KERNEL_BACKWARD is not None


_KERNEL_NAME = "_scaled_dot_product_flash_attention_for_cpu"
"""What ``scaled_dot_product_attention`` calls on a CPU, with the logarithm of sums that it does not
return.
"""

_KERNEL: Any = getattr(torch.ops.aten, _KERNEL_NAME, None)
_KERNEL_BACKWARD: Any = getattr(torch.ops.aten, f"{_KERNEL_NAME}_backward", None)


def _scale_of(queries: Tensor, scale: float | None) -> float:
    return 1 / math.sqrt(queries.shape[-1]) if scale is None else scale


def _attended_nothing(queries: Tensor) -> Attended:
    """Return the attention of *queries* to no keys."""
    dtype = dtype_of_sums(queries.dtype)
    return Attended(
        queries.new_zeros(queries.shape, dtype=dtype),
        queries.new_full((*queries.shape[:-1], 1), -math.inf, dtype=dtype),
    )


def _attend_fused(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float
) -> Attended:
    """Attend to some keys, and hold no logits."""
    added = mask
    if mask is not None and mask.dtype == torch.bool:
        added = _as_numbers(mask, queries.dtype)
    elif mask is not None:
        added = mask.to(queries.dtype)

    attended, log_mass = _KERNEL(queries, keys, values, attn_mask=added, scale=scale)
    log_mass = log_mass.unsqueeze(-1)
    if added is not None:
        # The kernel returns zero where a query attends to none of the keys.
        is_hidden = (added == -math.inf).all(-1, keepdim=True)
        log_mass = log_mass.masked_fill(is_hidden, -math.inf)
    return Attended(attended.to(log_mass.dtype), log_mass)


def attend_by_products(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    scale: float,
    *,
    drop: Callable[[Tensor], Tensor] | None = None,
) -> Attended:
    """Attend to some keys by products of matrices, with the logits in memory.

    Weights are dropped by *drop*; their sums still count them.
    """
    wide = dtype_of_sums(queries.dtype)
    with without_autocast(queries.device):
        logits = queries.to(wide).mul(scale) @ keys.to(wide).transpose(-2, -1)
        if mask is not None:
            logits += mask if mask.dtype != torch.bool else _as_numbers(mask, wide)
        return attend_by_logits(logits, values.to(wide), drop=drop)


def attend_by_logits(
    logits: Tensor, values: Tensor, *, drop: Callable[[Tensor], Tensor] | None = None
) -> Attended:
    """Return the mean of *values* by weights whose logits are known, and written over.

    Args:
        logits: ``(batch, heads, queries, keys)``, minus infinity where nothing is attended to.
        values: ``(batch, heads, keys, width)``, of the same dtype.
        drop: Drops weights; their sums still count them.
    """
    with without_autocast(logits.device):
        largest = _largest(logits.detach())
        is_empty = largest == -math.inf
        # Minus infinity minus itself is not a number.
        largest = largest.masked_fill(is_empty, 0.0)
        weights = logits.sub_(largest).exp_()

        # Ones in the place of empty sums, so that gradients are zeros and no NaN.
        total = weights.sum(-1, keepdim=True).masked_fill(is_empty, 1.0)
        kept = weights if drop is None else drop(weights)
        mean = (kept @ values) / total
        return Attended(mean, (largest + total.log()).masked_fill(is_empty, -math.inf))


def _largest(logits: Tensor) -> Tensor:
    """Return the largest logit of each query, minus infinity where there are no keys."""
    if not logits.shape[-1]:
        return logits.new_full((*logits.shape[:-1], 1), -math.inf)
    return logits.amax(-1, keepdim=True)


def _as_numbers(mask: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros((), dtype=dtype, device=mask.device).where(mask, -math.inf)


def _forward(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    part = _attend_fused(queries, keys, values, mask, scale)
    return part.mean.contiguous(), part.log_mass.contiguous()


def _fake(queries: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    dtype = dtype_of_sums(queries.dtype)
    log_mass = queries.new_empty((*queries.shape[:-1], 1), dtype=dtype)
    return queries.new_empty(queries.shape, dtype=dtype), log_mass


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.scale = inputs
    ctx.save_for_backward(*tensors, *output)
    ctx.set_materialize_grads(False)  # where parts are not merged, none comes by the logarithms


def _backward(
    ctx: Any, grad_mean: Tensor | None, grad_log_mass: Tensor | None
) -> tuple[Tensor | None, ...]:
    queries, keys, values, *_ = ctx.saved_tensors
    with torch.no_grad():
        gradients = _gradients(ctx, grad_mean, grad_log_mass)
    reason = "the fused kernel of a part of attention has no second derivative; take backend 'math'"
    sources = [grad_mean, grad_log_mass, queries, keys, values]
    return (*refuse_derivatives(gradients, reason, of=sources), None, None)


def _gradients(
    ctx: Any, grad_mean: Tensor | None, grad_log_mass: Tensor | None
) -> tuple[Tensor | None, ...]:
    """Return the gradients of queries, keys and values.

    The kernel knows the gradient of the mean alone. It takes the logits' to be ``w (g v^T - g o)``
    with weights ``w``, the mean ``o`` and its gradient ``g``; that of the logarithm of sums adds
    ``w h``. One feature more makes it so: it is 1 in ``g``, ``-h`` in ``o``, and zero elsewhere.
    """
    *tensors, mask, mean, log_mass = ctx.saved_tensors
    if grad_mean is None:
        if grad_log_mass is None:
            return None, None, None
        grad_mean = torch.zeros_like(mean)

    dtype = tensors[0].dtype
    grad_mean, mean = grad_mean.to(dtype), mean.to(dtype)
    if grad_log_mass is not None:
        grad_mean = _with_feature(grad_mean, 1.0)
        tensors = [_with_feature(tensor, 0.0) for tensor in tensors]
        mean = torch.cat([mean, -grad_log_mass.to(dtype)], dim=-1)

    gradients = _KERNEL_BACKWARD(
        grad_mean,
        *tensors,
        mean,
        log_mass.masked_fill(log_mass == -math.inf, 0.0).squeeze(-1),
        dropout_p=0.0,
        is_causal=False,
        attn_mask=None if mask is None else _as_numbers(mask, dtype),
        scale=ctx.scale,
    )
    if grad_log_mass is None:
        return tuple(gradients)
    return tuple(gradient[..., :-1] for gradient in gradients)


def _with_feature(x: Tensor, value: float) -> Tensor:
    """Return *x* with a feature more, of the same value for all."""
    return torch.nn.functional.pad(x, (0, 1), value=value)


_attend_with_gradients = define_operator(
    "noether::attend_to_part",
    "(Tensor queries, Tensor keys, Tensor values, Tensor? mask, float scale) -> (Tensor, Tensor)",
    _forward,
    fake=_fake,
    gradients=_backward,
    keep=_keep,
)
