"""What neighbourhood attention is given: tokens, the weights of the bias, and who reads whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


class Tokens(NamedTuple):
    """What tokens ask, answer with and where they are; batch and tokens are one axis."""

    queries: Tensor
    """``(tokens, hidden_dim)``."""

    keys: Tensor
    """``(tokens, hidden_dim)``."""

    values: Tensor
    """``(tokens, hidden_dim)``."""

    positions: Tensor
    """``(tokens, coordinates)``."""


class RelposWeights(NamedTuple):
    """The weights of the MLP from relative positions to a bias of every head; layers may have no
    bias.
    """

    inner: Tensor
    """``(relpos_hidden_dim, coordinates)``."""

    outer: Tensor
    """``(heads, relpos_hidden_dim)``."""

    inner_bias: Tensor | None
    outer_bias: Tensor | None


class Reading(NamedTuple):
    """Who reads whom, and how."""

    neighbours: Tensor
    """``(tokens, degree)`` numbers of tokens; -1 where there is none."""

    walk: Tensor
    """``(tokens,)`` numbers of all tokens in an order in which points near each other stand
    together.
    """

    num_heads: int
    dropout: float
    relpos_dropout: float

    seeds: tuple[Tensor | None, Tensor | None]
    """What decides which weights and which inner features are dropped; None where none are."""


def by_head(tensor: Tensor, num_heads: int) -> Tensor:
    """Return *tensor* ``(tokens, hidden_dim)`` as ``(tokens, heads, head_dim)``."""
    return tensor.reshape(tensor.shape[0], num_heads, tensor.shape[1] // num_heads)


def each_weight(function: Callable[[Tensor], Tensor], weights: RelposWeights) -> RelposWeights:
    """Return what *function* makes of each weight, None where a layer has no bias."""
    inner_bias, outer_bias = (None if bias is None else function(bias) for bias in weights[2:])
    return RelposWeights(function(weights.inner), function(weights.outer), inner_bias, outer_bias)
