"""Products of weights that are made once a call, so that they need not be made with every token."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch import nn


class Affine(NamedTuple):
    """A linear map of each head."""

    weight: Tensor
    """``(heads, K, slices)``, with ``K`` the width of a head's share of the states, or of a token.
    """

    bias: Tensor | None
    """``(heads, slices)``."""


def behind_states(
    slices: nn.Linear,
    states: nn.Linear,
    num_heads: int,
    *,
    temperature: Tensor | None = None,
    is_folded: bool = False,
) -> Affine:
    """Return the map from states without their bias to ``slices(states) / temperature``.

    Args:
        slices: Layer from a head's share of the states, ``head_dim``, to the slices.
        states: Layer that makes the states, whose bias becomes part of the result.
        num_heads: Number of heads.
        temperature: One number of each head, which becomes part of the result.
        is_folded: Whether the weight of *states* becomes part too, so that the map is one from
            tokens.
    """
    with torch.autocast(slices.weight.device.type, enabled=False):
        weight = slices.weight.t().expand(num_heads, -1, -1)
        bias = None if slices.bias is None else slices.bias.expand(num_heads, -1)
        if states.bias is not None:
            shifted = states.bias.view(num_heads, -1) @ slices.weight.t()
            bias = shifted if bias is None else bias + shifted
        if temperature is not None:
            weight = weight / temperature.view(-1, 1, 1)
            bias = None if bias is None else bias / temperature.view(-1, 1)
        if is_folded:
            weight = states.weight.view(num_heads, -1, states.in_features).transpose(1, 2) @ weight
    return Affine(weight, bias)


def from_tokens(layer: nn.Linear, num_heads: int) -> Affine:
    """Return the map of each head that *layer*, from tokens to the slices of all heads, stacks."""
    weight = layer.weight.view(num_heads, -1, layer.in_features).transpose(1, 2)
    return Affine(weight, None if layer.bias is None else layer.bias.view(num_heads, -1))


def stacked(*layers: nn.Linear) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias of one layer whose rows are those of *layers*."""
    weights: list[Tensor] = [layer.weight for layer in layers]
    biases: list[Tensor] = [layer.bias for layer in layers if layer.bias is not None]
    return torch.cat(weights), torch.cat(biases) if biases else None
