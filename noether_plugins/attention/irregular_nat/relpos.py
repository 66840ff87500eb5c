"""The bias of pairs of tokens by an MLP of their relative position, and its gradients."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from noether_plugins.attention.irregular_nat.tokens import RelposWeights


class Features(NamedTuple):
    """The inner features of pairs, ``(pairs, relpos_hidden_dim)`` each."""

    raw: Tensor
    """Before the nonlinearity."""

    kept: Tensor
    """Behind it and behind dropout."""

    scale: Tensor | None
    """What dropout multiplies them with; None where nothing is dropped."""


def features_of(offsets: Tensor, weights: RelposWeights, scale: Tensor | None) -> Features:
    """Return the inner features of *offsets* ``(pairs, coordinates)``."""
    raw = functional.linear(offsets, weights.inner, weights.inner_bias)
    kept = functional.gelu(raw)
    return Features(raw, kept if scale is None else kept.mul_(scale), scale)


def bias_of(features: Features, weights: RelposWeights) -> Tensor:
    """Return the bias of every head and pair, ``(heads, pairs)``."""
    if weights.outer_bias is None:
        return weights.outer @ features.kept.T
    return torch.addmm(weights.outer_bias.unsqueeze(1), weights.outer, features.kept.T)


def add_gradients_(
    sums: RelposWeights,
    gradient: Tensor,
    offsets: Tensor,
    weights: RelposWeights,
    scale: Tensor | None,
) -> Tensor:
    """Add the gradients of the weights to *sums*, and return that of the offsets.

    Args:
        sums: Zeros, or sums over other pairs, in the shapes of *weights*.
        gradient: Of the bias, ``(heads, pairs)``.
        offsets: ``(pairs, coordinates)``.
        weights: Of the MLP.
        scale: What dropout multiplies inner features with.

    Returns:
        ``(pairs, coordinates)``.
    """
    features = features_of(offsets, weights, scale)
    of_kept = gradient.T @ weights.outer
    of_raw = torch.ops.aten.gelu_backward(
        of_kept if scale is None else of_kept.mul_(scale), features.raw
    )

    sums.outer.addmm_(gradient, features.kept)
    sums.inner.addmm_(of_raw.T, offsets)
    if sums.outer_bias is not None:
        sums.outer_bias.add_(gradient.sum(dim=1))
    if sums.inner_bias is not None:
        sums.inner_bias.add_(of_raw.sum(dim=0))
    offsets_gradient: Tensor = of_raw @ weights.inner
    return offsets_gradient
