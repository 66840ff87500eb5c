"""The weights with which tokens belong to slices, tile by tile, and the gradients of what they are
made from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from noether_core.nn.noise import gumbel, uniform_at
from noether_core.nn.operators import dtype_of_sums
from noether_core.nn.slices.operands import present
from noether_core.nn.slices.temperatures import (
    Temperatures,
    add_temperature_gradients_,
    temperatures_of,
)
from noether_core.nn.slices.tiles import add_product_

if TYPE_CHECKING:
    from torch import Tensor

    from noether_core.nn.slices.operands import Operands
    from noether_core.nn.slices.tiles import Tile


class Sources(NamedTuple):
    """What a tile starts from, ``(batch * tokens, D)`` each, or the gradients of it; None where
    there is none.
    """

    tokens: Tensor | None
    states: Tensor | None


class Weights(NamedTuple):
    """Slice weights of a tile, and what their gradients need."""

    weights: Tensor
    """``(batch * heads, tokens, slices)``; zero for padding."""

    sharpened: Tensor | None
    """Logits over temperatures, of the same shape; None without temperatures."""

    temperatures: Temperatures | None


def weights_of(sources: Sources, tile: Tile) -> Weights:
    """Return the weights with which the tokens of a tile belong to the slices."""
    own, choices = tile.operands, tile.choices
    logits = tile.scratch.product(
        "logits", _source_of_logits(sources, tile), tile.repeated(own.logit_weight)
    )
    if own.logit_bias is not None:
        logits += tile.repeated(own.logit_bias).unsqueeze(1)
    if choices.noise_seed is not None:
        logits += _noise(logits, choices.noise_seed, tile)

    sharpened = temperatures = None
    weights = logits
    if own.temperature is not None:
        temperatures = temperatures_of(present(sources.states), tile)
        sharpened = logits.div_(temperatures.positive)
        weights = tile.scratch.empty("weights", logits.shape)

    torch.softmax(logits, dim=-1, out=weights)
    if choices.real is not None:
        is_real = tile.by_head(choices.real.view(-1, 1)[tile.rows], is_shared=True)
        weights.masked_fill_(~is_real, 0)
    return Weights(weights, sharpened, temperatures)


def add_weight_gradients_(
    totals: Operands, gradient: Tensor, made: Weights, sources: Sources, tile: Tile
) -> Sources:
    """Add to *totals* what a tile gives to the gradients of the operands, and return those of its
    sources.

    Args:
        totals: Gradients of the operands.
        gradient: That of the weights, ``(batch * heads, tokens, slices)``; overwritten.
        made: The weights.
        sources: What they were made from.
        tile: The tile.
    """
    of_logits = gradient  # and in its place, by the kernel behind torch's softmax
    torch._softmax_backward_data(gradient, made.weights, -1, gradient.dtype, grad_input=of_logits)  # noqa: SLF001
    of_states = None
    if made.temperatures is not None:
        of_logits /= made.temperatures.positive
        of_temperatures = -(of_logits * present(made.sharpened)).sum(dim=-1, keepdim=True)
        of_states = add_temperature_gradients_(
            totals, of_temperatures, made.temperatures, present(sources.states), tile
        )

    from_tokens = tile.choices.logits_from_tokens
    products = (_source_of_logits(sources, tile).transpose(1, 2), of_logits)
    if tile.batch == 1:
        add_product_(totals.logit_weight, *products)
    else:
        totals.logit_weight.add_(tile.summed(torch.bmm(*products)))
    if totals.logit_bias is not None:
        totals.logit_bias.add_(tile.summed(of_logits.sum(dim=1)))
    back = tile.repeated(tile.operands.logit_weight.transpose(1, 2))
    of_source = tile.combine("of source", of_logits, back, is_shared=from_tokens)
    if from_tokens:
        return Sources(of_source, of_states)
    return Sources(None, of_source if of_states is None else of_source + of_states)


def _source_of_logits(sources: Sources, tile: Tile) -> Tensor:
    """Return what each head makes its logits from, ``(batch * heads, tokens, K)``."""
    from_tokens = tile.choices.logits_from_tokens
    return tile.by_head(
        present(sources.tokens if from_tokens else sources.states), is_shared=from_tokens
    )


def _noise(logits: Tensor, seed: Tensor, tile: Tile) -> Tensor:
    """Return the Gumbel noise of a tile: by sample, head, token and slice, as if there were no
    tiles.
    """
    _, tokens, _ = tile.operands.x.shape
    heads = torch.arange(tile.slices.start, tile.slices.stop, device=logits.device) * tokens
    first = tile.rows.start % tokens
    own = torch.arange(first, first + logits.shape[1], device=logits.device)
    rows = heads.unsqueeze(-1) + own
    return gumbel(uniform_at(seed, rows, logits.shape[-1], dtype=dtype_of_sums(logits.dtype))).to(
        logits.dtype
    )
