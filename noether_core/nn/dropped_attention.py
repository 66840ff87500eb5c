"""Attention of latents to tokens and back, of whose weights some are dropped, which ones by token.

A token drops the same weights however tokens are cut, where kernels draw by the place in a call.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from noether_core.nn.noise import Drawing, drop_tokens
from noether_core.nn.operators import dtype_of_results, dtype_of_weights
from noether_core.nn.partial_attention import KeyChunk, attend_by_products
from noether_core.nn.streaming import recomputed
from noether_core.nn.summaries import Attended

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    parts = [KeyChunk(*part) for part in zip(*splits, masks, strict=True)]
    drawings = _drawings(drawing, count)
    return Attended.merged(
        [recomputed(attend_to, part, own) for part, own in zip(parts, drawings, strict=False)]
    )


def read_dropping(
    queries: Tensor,
    latents: Tensor,
    gathered: Tensor,
    *,
    scale: float | None,
    dropout: float,
    drawing: Drawing,
) -> Tensor:
    """Return the attention of tokens to latents, ``(batch, heads, tokens, width)``.

    Args:
        queries: ``(batch, heads, tokens, head_dim)``.
        latents: ``(batch, heads, latents, head_dim)``, the keys.
        gathered: ``(batch, heads, latents, width)``, the values.
        scale: As in `gather_dropping`, and so are the others.
        dropout: Probability of dropping a weight.
        drawing: Decides which.
    """
    queries, latents, gathered, scale = _as_computed(queries, latents, gathered, scale)
    wide = dtype_of_weights(queries.dtype)

    def read(own_queries: Tensor, own: Drawing) -> Tensor:
        logits = (own_queries * scale).to(wide) @ latents.to(wide).transpose(-2, -1)
        kept = drop_tokens(logits.softmax(dim=-1).to(wide), dropout, own)
        return (kept @ gathered.to(wide)).to(queries.dtype)

    count = _tokens_at_once(latents)
    if queries.shape[2] <= count:
        return read(queries, drawing)
    parts = torch.split(queries, count, dim=2)  # views of one split, as above
    drawings = _drawings(drawing, count)
    return torch.cat(
        [recomputed(read, part, own) for part, own in zip(parts, drawings, strict=False)], dim=2
    )


def _as_computed(
    queries: Tensor, keys: Tensor, values: Tensor, scale: float | None
) -> tuple[Tensor, Tensor, Tensor, float]:
    queries = queries.to(dtype_of_results(queries))
    scale = 1 / math.sqrt(queries.shape[-1]) if scale is None else scale
    return queries, keys.to(queries), values.to(queries), scale


def _drawings(drawing: Drawing, count: int) -> Iterator[Drawing]:
    """Yield what draws for *count* tokens, for as many behind them, and so on."""
    first = drawing.first_token
    while True:
        yield Drawing(drawing.seed, first)
        first += count


def _tokens_at_once(latents: Tensor) -> int:
    """Return how many tokens' weights are made at once."""
    available = _BYTES_IN_CACHE if latents.device.type == "cpu" else _BYTES_TO_BE_BUSY
    return max(_LEAST, available // max(1, 4 * latents[..., 0].numel()))
