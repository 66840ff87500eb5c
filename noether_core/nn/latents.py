"""Attention of few latents to many tokens, and of tokens to latents, as parts of tokens need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from noether_core.nn.noise import Drawing, drop_tokens
from noether_core.nn.operators import (
    dtype_of_results,
    is_recorded,
    is_transformed,
)
from noether_core.nn.partial_attention import (
    KeyChunk,
    attend_by_products,
    attend_fused,
    has_fused_kernel,
    nothing_attended,
)
from noether_core.nn.streaming import is_traced, recomputed
from noether_core.nn.summaries import Attended

if TYPE_CHECKING:
    from noether_core.schemas import Backend

_BYTES_IN_CACHE = 1 << 23
"""Bytes of the weights that are made at once on a CPU."""

_BYTES_TO_BE_BUSY = 1 << 26
"""Bytes of them on other devices."""

_LEAST = 512
"""Tokens below which products of matrices slow down."""


def gather_in_latents(
    latents: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    key_padding_mask: Tensor | None = None,
    dropout: float = 0.0,
    drawing: Drawing = Drawing(),  # noqa: B008  it cannot change
    scale: float,
    backend: Backend = "auto",
) -> Attended:
    """Return the attention of latents to tokens, with every gradient, as a part of a summary.

    Where gradients are recorded, weights are made for some tokens at a time, and again for the
    gradients.

    Args:
        latents: ``(batch, heads, latents, head_dim)``, the queries.
        keys: ``(batch, heads, tokens, head_dim)``.
        values: ``(batch, heads, tokens, width)``.
        key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. No latent attends to
            another one.
        dropout: Probability of dropping a weight; 0 outside training.
        drawing: Decides which, by the number of a token.
        scale: Factor of the logits.
        backend: ``"math"`` uses no kernel.
    """
    mask = None if key_padding_mask is None else key_padding_mask[:, None, None]
    if not keys.shape[2]:
        # Products with nothing, so that gradients flow, and are zeros.
        mean, log_mass = nothing_attended(latents)
        touched = (latents @ keys.transpose(-2, -1) @ values).to(mean.dtype)
        return Attended(mean + touched, log_mass)

    dtype = dtype_of_results(latents)
    latents, keys, values = latents.to(dtype), keys.to(dtype), values.to(dtype)
    if not dropout and _may_use_kernel(latents, keys, values, backend):
        return attend_fused(latents, keys, values, mask, scale)

    def attend_to(part: KeyChunk, first: int) -> Attended:
        def drop(weights: Tensor) -> Tensor:
            own = Drawing(drawing.seed, first)
            return drop_tokens(weights.transpose(-2, -1), dropout, own).transpose(-2, -1)

        return attend_by_products(latents, *part, scale, drop=drop if dropout else None)

    count, first = _tokens_at_once(latents), drawing.first_token
    if keys.shape[2] <= count:
        return attend_to(KeyChunk(keys, values, mask), first)

    parts = []
    # Views of one split: the gradient of each slice by itself would be a tensor of all tokens.
    splits = torch.split(keys, count, dim=2), torch.split(values, count, dim=2)
    masks = [None] * len(splits[0]) if mask is None else torch.split(mask, count, dim=-1)
    for part in zip(*splits, masks, strict=True):
        parts.append(recomputed(attend_to, KeyChunk(*part), first))
        first += count
    return Attended.merged(parts)


def read_latents(
    queries: Tensor,
    latents: Tensor,
    gathered: Tensor,
    *,
    dropout: float,
    drawing: Drawing,
    scale: float,
) -> Tensor:
    """Return the attention of tokens to latents, of whose weights some are dropped.

    Without dropout, take `attend`.

    Args:
        queries: ``(batch, heads, tokens, head_dim)``.
        latents: ``(batch, heads, latents, head_dim)``, the keys.
        gathered: ``(batch, heads, latents, width)``, the values.
        dropout: Probability of dropping a weight.
        drawing: Decides which, by the number of a token.
        scale: Factor of the logits.

    Returns:
        ``(batch, heads, tokens, width)``.
    """
    dtype = dtype_of_results(queries)

    def read(own: Tensor, first: int) -> Tensor:
        logits = own @ latents.transpose(-2, -1) * scale
        weights = logits.softmax(dim=-1).to(dtype)
        return drop_tokens(weights, dropout, Drawing(drawing.seed, first)) @ gathered.to(dtype)

    count, first = _tokens_at_once(latents), drawing.first_token
    if queries.shape[2] <= count:
        return read(queries, first)
    parts = []
    for own in torch.split(queries, count, dim=2):  # views of one split, as above
        parts.append(recomputed(read, own, first))
        first += count
    return torch.cat(parts, dim=2)


def _may_use_kernel(latents: Tensor, keys: Tensor, values: Tensor, backend: Backend) -> bool:
    if is_traced() or is_transformed() or is_recorded(latents, keys, values):
        return False
    return has_fused_kernel(latents, backend) and keys.shape == values.shape


def _tokens_at_once(latents: Tensor) -> int:
    """Return how many tokens' weights are made at once."""
    available = _BYTES_IN_CACHE if latents.device.type == "cpu" else _BYTES_TO_BE_BUSY
    return max(_LEAST, available // max(1, 4 * latents[..., 0].numel()))
