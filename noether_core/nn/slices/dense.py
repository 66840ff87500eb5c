"""From tokens to slices and back: soft groups, to which every token belongs in part."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from noether_core.nn.attention import attend
from noether_core.nn.noise import draw_seed, dropout_at
from noether_core.nn.slices.choosing import backend_among

if TYPE_CHECKING:
    from torch import Tensor

    from noether_core.schemas import Backend

EPS = 1e-5


def gather_slices(
    weights: Tensor, features: Tensor, key_padding_mask: Tensor | None = None
) -> Tensor:
    """Return the weighted mean of the features in each slice, ``sum_n w_ng f_n / (sum_n w_ng +
    1e-5)``.

    Wu et al., Transolver, 2024 (arXiv 2402.02366), equation 2.

    Args:
        weights: ``(batch, heads, tokens, slices)``: how much a token belongs to a slice.
        features: ``(batch, heads, tokens, head_dim)``.
        key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. Padding adds to no
            slice.

    Returns:
        ``(batch, heads, slices, head_dim)``.
    """
    if torch.float16 in (
        weights.dtype,
        features.dtype,
    ):  # it ends at 65,504, which sums over tokens exceed
        with torch.autocast(features.device.type, enabled=False):
            return gather_slices(weights.float(), features.float(), key_padding_mask).to(
                features.dtype
            )

    counted = functional.pad(
        features, (0, 1), value=1.0
    )  # the column of ones sums the weights in the same product
    if key_padding_mask is not None:
        counted = counted.masked_fill(~key_padding_mask[:, None, :, None], 0.0)

    sums = weights.transpose(-2, -1) @ counted
    return sums[..., :-1] / (sums[..., -1:] + EPS)


def attend_slices(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    dropout: float = 0.0,
    backend: Backend = "auto",
) -> Tensor:
    """Return what slices read of each other, each ``(batch, heads, slices, head_dim)``.

    Args:
        queries: What they ask.
        keys: What they answer to.
        values: What they answer.
        dropout: Probability of dropping a weight, by place: the same as in the form that streams.
        backend: Kernel, as `noether_core.nn.attend` takes it.
    """
    if not dropout:
        return attend(queries, keys, values, backend=backend_among(backend))
    shares = (queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])).softmax(dim=-1)
    return drop_shares(shares, dropout, draw_seed(shares.device)) @ values


def drop_shares(shares: Tensor, dropout: float, seed: Tensor) -> Tensor:
    """Drop weights among slices, ``(batch, heads, slices, slices)``, or their gradients: the same
    ones for a seed.
    """
    rows = torch.arange(shares[..., 0].numel(), device=shares.device)
    return dropout_at(shares.flatten(0, -2), dropout, seed, rows).view_as(shares)


def read_slices(weights: Tensor, slices: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
    """Return what tokens read from the slices with the weights that they gave, ``sum_g w_ng o_g``.

    Wu et al., Transolver, 2024 (arXiv 2402.02366), equation 4.

    Args:
        weights: ``(batch, heads, tokens, slices)``.
        slices: ``(batch, heads, slices, head_dim)``.
        key_padding_mask: As in `gather_slices`. Padding reads zeros.

    Returns:
        ``(batch, heads, tokens, head_dim)``.
    """
    read = weights @ slices
    if key_padding_mask is not None:
        read = read.masked_fill(~key_padding_mask[:, None, :, None], 0.0)
    return read
