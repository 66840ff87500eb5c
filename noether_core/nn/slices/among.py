"""Attention among slices: from the sums over tokens to what tokens read, and back; all in the bits
of the sums.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

from noether_core.nn.slices.dense import EPS, drop_shares
from noether_core.nn.slices.operands import present

if TYPE_CHECKING:
    from torch import Tensor

    from noether_core.nn.slices.operands import Choices, Operands


class Sums(NamedTuple):
    """What slices gather from the tokens, or the gradients of it."""

    features: Tensor
    """``(batch, heads, slices, width)``: weighted features; with folded weights, the weighted
    tokens themselves.
    """

    weights: Tensor
    """``(batch, heads, slices)``."""


class Among(NamedTuple):
    """The steps of attention among slices, each ``(batch, heads, slices, ...)``."""

    means: Tensor
    queries: Tensor
    keys: Tensor
    values: Tensor
    shares: Tensor
    kept: Tensor
    """The shares behind dropout."""

    read: Tensor
    """What the slices read of each other, of the width of a head."""

    handed_out: Tensor
    """What a token reads of a slice; with folded weights, its part of the output."""


def attend_among(sums: Sums, operands: Operands, choices: Choices) -> Among:
    """Return the steps from sums over tokens to what a token reads of each slice."""
    features = sums.features
    if choices.is_folded:
        features = features @ _feature_weight(operands, choices, features).transpose(-2, -1)
    if operands.feature_bias is not None:
        features = features + sums.weights.unsqueeze(-1) * _feature_bias(
            operands, choices, features
        )
    means = features / (sums.weights + EPS).unsqueeze(-1)

    bias = None if operands.qkv_bias is None else operands.qkv_bias.to(means.dtype)
    queries, keys, values = functional.linear(
        means, operands.qkv_weight.to(means.dtype), bias
    ).chunk(3, dim=-1)
    shares = (queries @ keys.transpose(-2, -1) / math.sqrt(means.shape[-1])).softmax(dim=-1)
    kept = _dropped(shares, choices)
    read = kept @ values

    handed_out = (
        read @ _out_weight(operands, choices, read).transpose(-2, -1) if choices.is_folded else read
    )
    return Among(means, queries, keys, values, shares, kept, read, handed_out)


def among_gradients(  # noqa: PLR0917  all of them are of one kind
    totals: Operands,
    gradient: Tensor,
    among: Among,
    sums: Sums,
    operands: Operands,
    choices: Choices,
) -> Sums:
    """Add to *totals* the gradients of the operands of this part, and return those of the sums.

    Args:
        totals: Gradients of the operands.
        gradient: That of ``among.handed_out``.
        among: The steps.
        sums: What they started from.
        operands: The tensors.
        choices: The rest.
    """
    if choices.is_folded:
        totals.out_weight.add_(
            (gradient.transpose(-2, -1) @ among.read).sum(dim=0).transpose(0, 1).flatten(1)
        )
        gradient = gradient @ _out_weight(operands, choices, gradient)

    of_shares = _dropped(gradient @ among.values.transpose(-2, -1), choices)
    of_logits = among.shares * (of_shares - (of_shares * among.shares).sum(dim=-1, keepdim=True))
    of_logits = of_logits / math.sqrt(among.means.shape[-1])
    of_queries, of_keys = of_logits @ among.keys, of_logits.transpose(-2, -1) @ among.queries
    of_qkv = torch.cat((of_queries, of_keys, among.kept.transpose(-2, -1) @ gradient), dim=-1)
    totals.qkv_weight.add_(of_qkv.flatten(0, -2).t() @ among.means.flatten(0, -2))
    if totals.qkv_bias is not None:
        totals.qkv_bias.add_(of_qkv.flatten(0, -2).sum(dim=0))

    of_features = of_qkv @ operands.qkv_weight.to(of_qkv.dtype) / (sums.weights + EPS).unsqueeze(-1)
    of_weights = -(of_features * among.means).sum(dim=-1)
    if totals.feature_bias is not None:
        totals.feature_bias.add_(
            (of_features * sums.weights.unsqueeze(-1)).sum(dim=(0, 2)).flatten()
        )
        of_weights += (of_features * _feature_bias(operands, choices, of_features)).sum(dim=-1)
    if choices.is_folded:
        present(totals.feature_weight).add_(
            (of_features.transpose(-2, -1) @ sums.features).sum(dim=0).flatten(0, 1)
        )
        of_features = of_features @ _feature_weight(operands, choices, of_features)
    return Sums(of_features, of_weights)


def _dropped(shares: Tensor, choices: Choices) -> Tensor:
    """Drop shares, or their gradients."""
    seed = choices.dropout_seed
    return shares if seed is None else drop_shares(shares, choices.dropout, seed)


def _feature_weight(operands: Operands, choices: Choices, beside: Tensor) -> Tensor:
    """Return the rows that make each head's features, ``(heads, head_dim, D)``."""
    return (
        present(operands.feature_weight)
        .to(beside.dtype)
        .view(choices.heads, -1, operands.x.shape[-1])
    )


def _feature_bias(operands: Operands, choices: Choices, beside: Tensor) -> Tensor:
    """Return what is added to each head's features, ``(heads, 1, head_dim)``."""
    return present(operands.feature_bias).to(beside.dtype).view(choices.heads, 1, -1)


def _out_weight(operands: Operands, choices: Choices, beside: Tensor) -> Tensor:
    """Return the columns that take what each head reads, ``(heads, D, head_dim)``."""
    return (
        operands.out_weight.to(beside.dtype)
        .view(operands.x.shape[-1], choices.heads, -1)
        .transpose(0, 1)
    )
