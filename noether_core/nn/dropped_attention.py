"""Attention of latents to tokens and back, of whose weights some are dropped, which ones by token.

A token drops the same weights however tokens are cut, where kernels draw by the place in a call.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from noether_core.nn.noise import Drawing, drop_tokens
from noether_core.nn.operators import dtype_of_results
from noether_core.nn.partial_attention import KeyChunk, attend_by_products
from noether_core.nn.streaming import recomputed
from noether_core.nn.summaries import Attended

_BYTES_IN_CACHE = 1 << 23
"""Bytes of the weights that are made at once on a CPU."""

_BYTES_TO_BE_BUSY = 1 << 26
"""Bytes of them on other devices."""

_LEAST = 512
"""Tokens below which products of matrices slow down."""


def gather_dropping(
    latents: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    key_padding_mask: Tensor | None,
    scale: float | None,
    dropout: float,
    drawing: Drawing,
) -> Attended:
    """Return the attention of latents to tokens as a part of a summary, with every gradient.

    Weights are made for some tokens at a time, and again for gradients.

    Args:
        latents: ``(batch, heads, latents, head_dim)``, the queries.
        keys: ``(batch, heads, tokens, head_dim)``.
        values: ``(batch, heads, tokens, width)``.
        key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens.
        scale: Factor of the logits; ``1 / sqrt(head_dim)`` where it is None.
        dropout: Probability of dropping a weight.
        drawing: Decides which, by the number of a token.
    """
    latents, keys, values, scale = _as_computed(latents, keys, values, scale)
    mask = None if key_padding_mask is None else key_padding_mask[:, None, None]

    def attend_to(part: KeyChunk, own: Drawing) -> Attended:
        def drop(weights: Tensor) -> Tensor:
            return drop_tokens(weights.transpose(-2, -1), dropout, own).transpose(-2, -1)

        return attend_by_products(latents, *part, scale, drop=drop)

    count = _tokens_at_once(latents)
    if keys.shape[2] <= count:
        return attend_to(KeyChunk(keys, values, mask), drawing)
    # Views of one split: the gradient of each slice by itself would be a tensor of all tokens.
    splits = torch.split(keys, count, dim=2), torch.split(values, count, dim=2)
    masks = [None] * len(splits[0]) if mask is None else torch.split(mask, count, dim=-1)
    merged = []
    for number, part in enumerate(zip(*splits, masks, strict=True)):
        own = drawing.part(number * count)
        merged.append(recomputed(attend_to, KeyChunk(*part), own))
    return Attended.merged(merged)


def read_dropping(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    key_padding_mask: Tensor | None = None,
    scale: float | None = None,
    dropout: float,
    drawing: Drawing,
) -> Tensor:
    """Return the attention of tokens to keys, ``(batch, heads, tokens, width)``.

    Args:
        queries: ``(batch, heads, tokens, head_dim)``.
        keys: ``(batch, heads, keys, head_dim)``.
        values: ``(batch, heads, keys, width)``.
        key_padding_mask: ``(batch, keys)`` booleans, True for real keys.
        scale: As in `gather_dropping`.
        dropout: Probability of dropping a weight.
        drawing: Decides which, by the number of a token and the place of a key.
    """
    queries, keys, values, scale = _as_computed(queries, keys, values, scale)
    mask = None if key_padding_mask is None else key_padding_mask[:, None, None]

    def read(own_queries: Tensor, own: Drawing) -> Tensor:
        part = KeyChunk(keys, values, mask)

        def drop(weights: Tensor) -> Tensor:
            return drop_tokens(weights, dropout, own)

        return attend_by_products(own_queries, *part, scale, drop=drop).mean.to(queries.dtype)

    count = _tokens_at_once(keys)
    if queries.shape[2] <= count:
        return read(queries, drawing)
    parts = torch.split(queries, count, dim=2)  # views of one split, as above
    return torch.cat(
        [recomputed(read, own, drawing.part(i * count)) for i, own in enumerate(parts)], dim=2
    )


def _as_computed(
    queries: Tensor, keys: Tensor, values: Tensor, scale: float | None
) -> tuple[Tensor, Tensor, Tensor, float]:
    queries = queries.to(dtype_of_results(queries))
    scale = 1 / math.sqrt(queries.shape[-1]) if scale is None else scale
    return queries, keys.to(queries), values.to(queries), scale


def _tokens_at_once(latents: Tensor) -> int:
    """Return how many tokens are computed at once, with a weight for each of *latents*."""
    available = _BYTES_IN_CACHE if latents.device.type == "cpu" else _BYTES_TO_BE_BUSY
    return max(_LEAST, available // max(1, 4 * latents[..., 0].numel()))
