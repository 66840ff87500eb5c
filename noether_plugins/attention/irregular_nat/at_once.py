"""Attention to neighbours as its formula says, all gathered at once; and what it is given.

For a few tokens, and for derivatives of any kind.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from noether_core.nn import dropout_at
from noether_core.nn.operators import dtype_of_sums
from noether_plugins.attention.irregular_nat.relpos import RelposWeights


class Tokens(NamedTuple):
    """Tokens, projected, and where they are; batch and tokens are one axis."""

    queries: Tensor
    """``(tokens, hidden_dim)``."""

    keys: Tensor
    """``(tokens, hidden_dim)``."""

    values: Tensor
    """``(tokens, hidden_dim)``."""

    positions: Tensor
    """``(tokens, coordinates)``."""


class Neighbourhood(NamedTuple):
    """Which tokens attend to which, and how."""

    neighbours: Tensor
    """``(tokens, degree)`` numbers of tokens; -1 where there is no further one."""

    walk: Tensor
    """``(tokens,)`` numbers of all tokens in an order in which points near each other stand
    together.
    """

    seed: Tensor | None
    """What decides which weights are dropped; None where none are."""

    relpos_seed: Tensor | None
    """What decides which inner features of the bias are dropped, likewise."""

    num_heads: int

    dropout: float
    """Probability of dropping a weight."""

    relpos_dropout: float
    """Probability of dropping an inner feature."""


def attend_at_once(tokens: Tokens, relpos: RelposWeights, given: Neighbourhood) -> Tensor:
    """Return what every token attends to, ``(tokens, hidden_dim)``.

    It is made of operations that autograd knows.
    """
    own = torch.arange(tokens.queries.shape[0], device=tokens.queries.device)
    is_missing = (given.neighbours < 0).unsqueeze(-1)
    others = torch.where(given.neighbours < 0, own.unsqueeze(1), given.neighbours)
    dtype = dtype_of_sums(tokens.queries.dtype)

    with torch.autocast(tokens.queries.device.type, enabled=False):
        queries = _by_head(tokens.queries.to(dtype), given.num_heads)
        keys = _gathered(_by_head(tokens.keys.to(dtype), given.num_heads), others)
        values = _gathered(_by_head(tokens.values.to(dtype), given.num_heads), others)

        # The position of padding may be anything, NaN too.
        offsets = _gathered(tokens.positions, others) - tokens.positions.unsqueeze(1)
        offsets = offsets.masked_fill(is_missing, 0.0).to(dtype)
        bias = _relpos_bias(offsets, relpos, given, own)

        products = (queries.unsqueeze(1) * keys).sum(dim=-1)
        logits = products / math.sqrt(queries.shape[-1]) + bias

        # A token without neighbours would make NaN of minus infinity, so its weights are zeroed.
        logits = logits.masked_fill(is_missing, torch.finfo(dtype).min)
        weights = logits.softmax(dim=1).masked_fill(is_missing, 0.0)
        if given.seed is not None:
            weights = dropout_at(weights, given.dropout, given.seed, own)

        result: Tensor = (weights.unsqueeze(-1) * values).sum(dim=1)
        return result.to(tokens.values.dtype).flatten(1)


def _relpos_bias(
    offsets: Tensor, relpos: RelposWeights, given: Neighbourhood, own: Tensor
) -> Tensor:
    """Return the bias of every pair and head, ``(tokens, degree, heads)``."""
    inner, outer, inner_bias, outer_bias = relpos.map(lambda weight: weight.to(offsets.dtype))
    features = functional.gelu(functional.linear(offsets, inner, inner_bias))
    if given.relpos_seed is not None:
        features = dropout_at(features, given.relpos_dropout, given.relpos_seed, own)
    return functional.linear(features, outer, outer_bias)


def _by_head(tensor: Tensor, num_heads: int) -> Tensor:
    """Return ``(tokens, hidden_dim)`` as ``(tokens, heads, head_dim)``."""
    return tensor.reshape(tensor.shape[0], num_heads, tensor.shape[1] // num_heads)


def _gathered(rows: Tensor, numbers: Tensor) -> Tensor:
    """Return the rows of *numbers* ``(tokens, degree)``, ``(tokens, degree, ...)``."""
    return rows.index_select(0, numbers.flatten()).view(*numbers.shape, *rows.shape[1:])
