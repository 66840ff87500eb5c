"""What divides the logits of slices: one positive number for every token and head, or for every
head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

from noether_core.nn.slices.operands import present
from noether_core.nn.slices.tiles import add_product_

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from noether_core.nn.slices.operands import Operands, Positive
    from noether_core.nn.slices.tiles import Tile

LEAST_TEMPERATURE = 0.01
"""Where temperatures are cut off."""


class Temperatures(NamedTuple):
    """Temperatures of a tile, and the steps to them."""

    inner: Tensor | None
    """``(batch * heads, tokens, slices)``: first layer, before its activation; None where heads
    have one each.
    """

    outer: Tensor | None
    """``(batch * heads, tokens, 1)``: second layer, before its activation."""

    raw: Tensor
    """``(batch * heads, tokens or 1, 1)``."""

    positive: Tensor
    """The same shape: what divides the logits."""


def temperatures_of(states: Tensor, tile: Tile) -> Temperatures:
    """Return ``positive(temperature + gelu(outer gelu(inner states)))`` of the tokens of a tile.

    Args:
        states: ``(batch * tokens, D)``.
        tile: The tile; its operands have a temperature.
    """
    own = tile.operands
    raw = tile.repeated(present(own.temperature)).view(-1, 1, 1)
    inner = outer = None
    if own.inner_weight is not None:
        parts = tile.by_head(states)
        inner = tile.scratch.product(
            "inner", parts, own.inner_weight.t().expand(len(parts), -1, -1)
        )
        if own.inner_bias is not None:
            inner += tile.repeated(own.inner_bias).unsqueeze(1)
        outer = functional.linear(
            functional.gelu(inner), present(own.outer_weight).unsqueeze(0), own.outer_bias
        )
        raw = raw + functional.gelu(outer)
    return Temperatures(inner, outer, raw, POSITIVE[tile.choices.positive](raw))


def add_temperature_gradients_(
    totals: Operands, gradient: Tensor, made: Temperatures, states: Tensor, tile: Tile
) -> Tensor | None:
    """Add to *totals* what a tile gives to the gradients of the operands, and return that of its
    states.

    Args:
        totals: Gradients of the operands.
        gradient: That of the positive temperatures, ``(batch * heads, tokens, 1)``.
        made: The temperatures.
        states: ``(batch * tokens, D)``.
        tile: The tile.
    """
    of_raw = gradient * _SLOPES[tile.choices.positive](made.raw, made.positive)
    present(totals.temperature).add_(tile.summed(of_raw.sum(dim=(1, 2))))
    if made.inner is None:
        return None

    of_outer = torch.ops.aten.gelu_backward(of_raw, made.outer)
    present(totals.outer_weight).add_((functional.gelu(made.inner) * of_outer).sum(dim=(0, 1)))
    if totals.outer_bias is not None:
        totals.outer_bias.add_(of_outer.sum())

    of_inner = torch.ops.aten.gelu_backward(
        of_outer * present(tile.operands.outer_weight), made.inner
    )
    if totals.inner_bias is not None:
        totals.inner_bias.add_(tile.summed(of_inner.sum(dim=1)))
    add_product_(
        present(totals.inner_weight), of_inner.flatten(0, 1).t(), tile.by_head(states).flatten(0, 1)
    )
    return tile.by_token(of_inner @ present(tile.operands.inner_weight), "of states")


def _cut_off(raw: Tensor) -> Tensor:
    return raw.clamp_min(LEAST_TEMPERATURE)


POSITIVE: Mapping[Positive, Callable[[Tensor], Tensor]] = {
    "cut off": _cut_off,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "exp": torch.exp,
}
"""The maps that make a temperature positive."""

_SLOPES: Mapping[Positive, Callable[[Tensor, Tensor], Tensor]] = {
    "cut off": lambda raw, _: raw >= LEAST_TEMPERATURE,
    "sigmoid": lambda _, positive: positive * (1 - positive),
    "softplus": lambda raw, _: raw.sigmoid(),
    "exp": lambda _, positive: positive,
}
