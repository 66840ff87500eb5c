"""Attention to neighbours as its formula says, all gathered at once; and what it is given.

For a few tokens, and for derivatives of any kind.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from noether_core.nn import dropout_at
from noether_core.nn.operators import dtype_of_sums, is_transformed, without_autocast
from noether_core.nn.streaming import chunks_of, is_traced, recomputed
from noether_plugins.attention.irregular_nat.relpos import RelposWeights

_PAIRS_AT_ONCE = 1 << 16
"""Pairs whose inner features are made at once by layers that must be called."""


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


def attend_at_once(
    tokens: Tokens,
    relpos: RelposWeights,
    given: Neighbourhood,
    pair_bias: Tensor | None = None,
) -> Tensor:
    """Return what every token attends to, ``(tokens, hidden_dim)``.

    It is made of operations that autograd knows.

    Args:
        tokens: The tokens.
        relpos: Weights of the bias.
        given: Which tokens attend to which.
        pair_bias: The bias of every pair and head, ``(tokens, degree, heads)``, in the place of
            *relpos*.
    """
    own = torch.arange(tokens.queries.shape[0], device=tokens.queries.device)
    is_missing = (given.neighbours < 0).unsqueeze(-1)
    others = torch.where(given.neighbours < 0, own.unsqueeze(1), given.neighbours)
    dtype = dtype_of_sums(tokens.queries.dtype)

    with without_autocast(tokens.queries.device):
        queries = _by_head(tokens.queries.to(dtype), given.num_heads)
        keys = _gathered(_by_head(tokens.keys.to(dtype), given.num_heads), others)
        values = _gathered(_by_head(tokens.values.to(dtype), given.num_heads), others)

        bias = pair_bias
        if bias is None:
            offsets = _offsets(tokens.positions, others, own, is_missing).to(dtype)
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


def called_bias(
    inner: nn.Module, outer: nn.Module, positions: Tensor, given: Neighbourhood
) -> Tensor:
    """Return the bias of every pair and head, ``(tokens, degree, heads)``, by calls of its layers.

    Chunk by chunk; autograd makes the inner features again for gradients.

    Args:
        inner: Makes inner features of relative positions, ``(pairs, coordinates)``.
        outer: Makes the bias of every head of them.
        positions: ``(tokens, coordinates)``.
        given: Which tokens attend to which.
    """

    def chunk_bias(rows: slice) -> Tensor:
        neighbours = given.neighbours[rows]
        own = torch.arange(rows.start, rows.start + neighbours.shape[0], device=positions.device)
        others = torch.where(neighbours < 0, own.unsqueeze(1), neighbours)
        is_missing = (neighbours < 0).unsqueeze(-1)

        features: Tensor = functional.gelu(inner(_offsets(positions, others, own, is_missing)))
        if given.relpos_seed is not None:
            features = dropout_at(features, given.relpos_dropout, given.relpos_seed, own)
        bias: Tensor = outer(features)
        return bias

    count, degree = given.neighbours.shape
    if is_traced() or is_transformed():
        return chunk_bias(slice(0, count))
    size = max(1, _PAIRS_AT_ONCE // max(1, degree))
    parts = [recomputed(chunk_bias, rows) for rows in chunks_of([slice(0, count)], size)]
    return torch.cat(parts) if parts else chunk_bias(slice(0, 0))


def _offsets(positions: Tensor, others: Tensor, own: Tensor, is_missing: Tensor) -> Tensor:
    """Return where the neighbours *others* are, seen from *own*, ``(own, degree, coordinates)``."""
    offsets = _gathered(positions, others) - positions.index_select(0, own).unsqueeze(1)
    # The position of padding may be anything, NaN too.
    return offsets.masked_fill(is_missing, 0.0)


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
