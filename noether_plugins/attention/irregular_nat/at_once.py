"""Attention of every token to a few others, all gathered at once: for a few tokens, and for
derivatives of any kind.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from noether_core.nn import dropout_at
from noether_core.nn.operators import dtype_of_sums
from noether_plugins.attention.irregular_nat.tokens import (
    Reading,
    RelposWeights,
    Tokens,
    by_head,
    each_weight,
)


def read_at_once(tokens: Tokens, weights: RelposWeights, reading: Reading) -> Tensor:
    """Return what every token reads, ``(tokens, hidden_dim)``, in operations that autograd knows."""
    numbers = torch.arange(tokens.queries.shape[0], device=tokens.queries.device)
    is_there = (reading.neighbours >= 0).unsqueeze(-1)
    others = torch.where(reading.neighbours < 0, numbers.unsqueeze(1), reading.neighbours)
    dtype = dtype_of_sums(tokens.queries.dtype)

    with torch.autocast(tokens.queries.device.type, enabled=False):
        queries, keys, values = (
            by_head(tensor.to(dtype), reading.num_heads) for tensor in tokens[:3]
        )
        keys, values, positions = (
            tensor.index_select(0, others.flatten()).view(*others.shape, *tensor.shape[1:])
            for tensor in (keys, values, tokens.positions)
        )
        offsets = positions - tokens.positions.unsqueeze(1)
        bias = _bias(offsets.masked_fill(~is_there, 0.0).to(dtype), weights, reading, numbers)

        products = (queries.unsqueeze(1) * keys).sum(dim=-1)
        logits = products / math.sqrt(queries.shape[-1]) + bias
        logits = logits.masked_fill(
            ~is_there, torch.finfo(dtype).min
        )  # where none is there, weights are zeroed below
        shares = logits.softmax(dim=1).masked_fill(~is_there, 0.0)
        if reading.seeds[0] is not None:
            shares = dropout_at(shares, reading.dropout, reading.seeds[0], numbers)

        read: Tensor = (shares.unsqueeze(-1) * values).sum(dim=1)
        return read.to(tokens.values.dtype).flatten(1)


def _bias(offsets: Tensor, weights: RelposWeights, reading: Reading, numbers: Tensor) -> Tensor:
    """Return the bias of every pair and head, ``(tokens, degree, heads)``; padding may be anywhere,
    or NaN.
    """
    inner, outer, inner_bias, outer_bias = each_weight(
        lambda weight: weight.to(offsets.dtype), weights
    )
    features = functional.gelu(functional.linear(offsets, inner, inner_bias))
    if reading.seeds[1] is not None:
        features = dropout_at(features, reading.relpos_dropout, reading.seeds[1], numbers)
    return functional.linear(features, outer, outer_bias)
