"""The bias of pairs of tokens: an MLP of their relative position, and its gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable


class RelposWeights(NamedTuple):
    """The weights of the MLP from relative positions to a bias of every head."""

    inner: Tensor
    """``(relpos_hidden_dim, coordinates)``."""

    outer: Tensor
    """``(heads, relpos_hidden_dim)``."""

    inner_bias: Tensor | None
    """``(relpos_hidden_dim,)``, or None where layers have no bias."""

    outer_bias: Tensor | None
    """``(heads,)``, likewise."""

    def map(self, function: Callable[[Tensor], Tensor]) -> RelposWeights:
        """Return what *function* makes of each weight that there is."""
        inner_bias = None if self.inner_bias is None else function(self.inner_bias)
        outer_bias = None if self.outer_bias is None else function(self.outer_bias)
        return RelposWeights(function(self.inner), function(self.outer), inner_bias, outer_bias)


class Features(NamedTuple):
    """The inner features of pairs, ``(pairs, relpos_hidden_dim)`` each."""

    raw: Tensor
    """Before the nonlinearity."""

    kept: Tensor
    """Behind it and behind dropout."""


def features_of(offsets: Tensor, weights: RelposWeights, scale: Tensor | None) -> Features:
    """Return the inner features of pairs.

    Args:
        offsets: Relative positions, ``(pairs, coordinates)``.
        weights: Those of the MLP.
        scale: What dropout multiplies features with; None where nothing is dropped.
    """
    raw = functional.linear(offsets, weights.inner, weights.inner_bias)
    kept = functional.gelu(raw)
    if scale is not None:
        kept.mul_(scale)
    return Features(raw, kept)


def bias_of(features: Features, weights: RelposWeights) -> Tensor:
    """Return the bias of every head and pair, ``(heads, pairs)``."""
    if weights.outer_bias is None:
        return weights.outer @ features.kept.T
    return torch.addmm(weights.outer_bias.unsqueeze(1), weights.outer, features.kept.T)


def add_relpos_gradients_(
    grad_weights: RelposWeights,
    grad_bias: Tensor,
    offsets: Tensor,
    weights: RelposWeights,
    scale: Tensor | None,
) -> Tensor:
    """Add the gradients of the weights to *grad_weights*, and return that of the offsets.

    Args:
        grad_weights: Zeros, or sums over other pairs, in the shapes of *weights*.
        grad_bias: Gradient of the bias, ``(heads, pairs)``.
        offsets: ``(pairs, coordinates)``.
        weights: Those of the MLP.
        scale: As in `features_of`.

    Returns:
        ``(pairs, coordinates)``.
    """
    features = features_of(offsets, weights, scale)
    grad_features = grad_bias.T @ weights.outer
    if scale is not None:
        grad_features.mul_(scale)
    grad_raw = torch.ops.aten.gelu_backward(grad_features, features.raw)

    grad_weights.outer.addmm_(grad_bias, features.kept)
    grad_weights.inner.addmm_(grad_raw.T, offsets)
    if grad_weights.outer_bias is not None:
        grad_weights.outer_bias.add_(grad_bias.sum(dim=1))
    if grad_weights.inner_bias is not None:
        grad_weights.inner_bias.add_(grad_raw.sum(dim=0))

    grad_offsets: Tensor = grad_raw @ weights.inner
    return grad_offsets
