"""What attention through slices computes with, once the layers of a variant have been brought into
one form.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

Positive = Literal["cut off", "sigmoid", "softplus", "exp"]
"""Map that makes a temperature positive: cut off at 0.01, or smooth."""


class Operands(NamedTuple):
    """The tensors of attention through slices, or their gradients.

    ``D`` is the width of a token, ``d`` that of a head, and ``K`` that of what logits are made
    from.
    """

    x: Tensor
    """``(batch, tokens, D)``."""

    logit_weight: Tensor
    """``(heads, K, slices)``."""

    logit_bias: Tensor | None
    """``(heads, slices)``."""

    state_weight: Tensor | None
    """``(D, D)``: makes the states, of which each head has its share. None where nothing is made
    from states.
    """

    feature_weight: Tensor | None
    """``(D, D)``: makes the features. None where the states are the features."""

    feature_bias: Tensor | None
    """``(D,)``."""

    qkv_weight: Tensor
    """``(3 d, d)``: makes queries, keys and values of the slices."""

    qkv_bias: Tensor | None
    """``(3 d,)``."""

    out_weight: Tensor
    """``(D, D)``."""

    out_bias: Tensor | None
    """``(D,)``."""

    temperature: Tensor | None = None
    """``(heads,)``, what is made positive and divides the logits; None where the weights of the
    logits contain it.
    """

    inner_weight: Tensor | None = None
    """``(slices, d)``: first layer of what a token's states add to the temperature. None where they
    add nothing.
    """

    inner_bias: Tensor | None = None
    """``(heads, slices)``."""

    outer_weight: Tensor | None = None
    """``(slices,)``: the second layer."""

    outer_bias: Tensor | None = None
    """``(1,)``."""


class Choices(NamedTuple):
    """What is no tensor with a gradient."""

    real: Tensor | None = None
    """``(batch, tokens)`` booleans, True for real tokens; None where all are."""

    noise_seed: Tensor | None = None
    """Decides the Gumbel noise that is added to the logits; None for no noise."""

    dropout_seed: Tensor | None = None
    """Decides which weights among the slices are dropped; None where none are."""

    dropout: float = 0.0
    """Probability of dropping one."""

    heads: int = 1
    """Number of heads."""

    chunk: int = 1
    """Tokens that are computed at once."""

    logits_from_tokens: bool = False
    """Whether logits are made from whole tokens, ``K = D``; else from a head's share of the states,
    ``K = d``.
    """

    is_folded: bool = False
    """Whether features and output are projected in the slices, of which there are few, and not in
    the tokens.
    """

    positive: Positive = "cut off"
    """Makes temperatures positive."""


def present(tensor: Tensor | None) -> Tensor:
    """Return a tensor that is there, as others of the operands or the choices say."""
    assert tensor is not None  # noqa: S101  no input, but what other fields imply
    return tensor
