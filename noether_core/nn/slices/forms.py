"""Attention through slices in the form that is fastest: as a whole, or gathered and read apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from noether_core.nn.noise import Drawing, drop_tokens, seed_for
from noether_core.nn.slices.layers import (
    Call,
    SliceLayers,
    attend_by_layers,
    gather_by_layers,
    mix_by_layers,
    read_by_layers,
    seed_of_mixing,
)
from noether_core.nn.slices.operator import (
    attend_through_slices,
    gather_into_slices,
    read_from_slices,
)
from noether_core.nn.slices.plan import Operands, Settings, SliceModule, choose_tile_size
from noether_core.nn.slices.reference import EPS
from noether_core.nn.summaries import Summary, Summed, check_summary

if TYPE_CHECKING:
    from noether_core.nn.slices.context import SliceContext
    from noether_core.schemas import AttentionConfig


class Streamed(NamedTuple):
    """What a module gives to the operators that stream."""

    operands: Operands

    settings: Settings
    """What follows from the config; a call adds the rest."""


class SliceAttention(SliceLayers, SliceModule, Protocol):
    """A module that attends through slices, in either form."""

    dropout: float
    training: bool

    @property
    def config(self) -> AttentionConfig:
        """The options that it was made with."""
        ...

    @property
    def is_noisy(self) -> bool:
        """Whether noise is drawn."""
        ...

    def streamed(self, x: Tensor) -> Streamed | None:
        """Return the weights of its layers, or None where one of them must be called."""
        ...


def attend(
    module: SliceAttention,
    x: Tensor,
    is_real: Tensor | None,
    *,
    context: SliceContext | None = None,
    eps: float = EPS,
) -> Tensor:
    """Return the output of attention through slices, ``(batch, tokens, hidden_dim)``.

    Args:
        module: The attention.
        x: ``(batch, tokens, hidden_dim)``.
        is_real: ``(batch, tokens)`` booleans; None where all tokens are real.
        context: What slices attend to beside each other.
        eps: Added to the sum of the weights of a slice.
    """
    drawing = Drawing(_seed(module, x))
    call, streamed = _planned(module, Call(x, is_real, drawing, context=context, eps=eps))
    y = attend_by_layers(module, call) if streamed is None else _streamed(module, call, streamed)
    return _dropped(module, y, call.drawing)


def _streamed(module: SliceAttention, call: Call, streamed: Streamed) -> Tensor:
    operands, settings = streamed
    if call.context is None:
        return attend_through_slices(operands, settings)
    weights = call.context.weights(module.num_slices)
    if weights is not None:
        return attend_through_slices(operands._replace(**weights._asdict()), settings)

    sums = gather_into_slices(operands, settings)
    together = torch.cat([sums.features, sums.weights.unsqueeze(-1)], dim=-1)
    return read_from_slices(mix_by_layers(module, together, call), operands, settings)


def gather(
    module: SliceAttention,
    x: Tensor,
    is_real: Tensor | None,
    *,
    first_token: int,
    seed: Tensor | None,
) -> Summary:
    """Return what tokens give to slices.

    Args:
        module: The attention.
        x: ``(batch, tokens, hidden_dim)``.
        is_real: ``(batch, tokens)`` booleans; None where all tokens are real.
        first_token: Number of the first token, by which noise is drawn.
        seed: Decides noise and dropout; drawn where it is None and there is any.
    """
    seed = _seed(module, x, seed)
    call, streamed = _planned(module, Call(x, is_real, Drawing(seed, first_token)))
    if streamed is None:
        sums = gather_by_layers(module, call)
        features, weights = sums[..., :-1], sums[..., -1:]
    else:
        gathered = gather_into_slices(*streamed)
        features, weights = gathered.features, gathered.weights.unsqueeze(-1)
    parts = {"features": Summed(features), "weights": Summed(weights)}
    return Summary.of(module, x, parts=parts, seed=seed)  # type: ignore[arg-type]  # it is a module


def read(
    module: SliceAttention,
    x: Tensor,
    summary: Summary,
    is_real: Tensor | None,
    *,
    first_token: int,
    context: SliceContext | None = None,
    eps: float = EPS,
) -> Tensor:
    """Return what tokens get of what tokens gave to slices, ``(batch, tokens, hidden_dim)``.

    Args:
        module: The attention, which gathered.
        x: ``(batch, tokens, hidden_dim)``.
        summary: What `gather` returned, or those of several parts merged.
        is_real: As in `gather`.
        first_token: As in `gather`.
        context: As in `attend`.
        eps: As in `attend`.
    """
    check_summary(summary, module, x)  # type: ignore[arg-type]  # it is a module
    drawing = Drawing(_seed(module, x, summary.seed), first_token)
    call, streamed = _planned(module, Call(x, is_real, drawing, context=context, eps=eps))
    features, weights = (summary.parts[name][0] for name in ("features", "weights"))
    mixed = mix_by_layers(module, torch.cat([features, weights], dim=-1), call)
    if streamed is None:
        y = read_by_layers(module, mixed, call)
    else:
        y = read_from_slices(mixed, *streamed)
    return _dropped(module, y, call.drawing)


def _planned(module: SliceAttention, call: Call) -> tuple[Call, Streamed | None]:
    """Return how tokens are computed, and the weights of layers where they are read."""
    size = choose_tile_size(module, call.x, draws_noise=module.is_noisy)
    streamed = None if size is None else module.streamed(call.x)
    if size is None or streamed is None:
        return call._replace(size=size), None

    seed, first_token = call.drawing
    dropout = module.dropout if module.training else 0.0
    settings = streamed.settings._replace(
        key_padding_mask=call.is_real,
        noise_seed=seed if module.is_noisy else None,
        dropout_seed=seed_of_mixing(seed) if dropout else None,
        dropout=dropout,
        num_heads=module.num_heads,
        tile_size=size,
        first_token=first_token,  # type: ignore[arg-type]  # in a row
        eps=call.eps,
    )
    return call, Streamed(streamed.operands, settings)


def _seed(module: SliceAttention, x: Tensor, given: Tensor | None = None) -> Tensor | None:
    is_random = module.training and (module.is_noisy or module.dropout > 0)
    return seed_for(x, given, is_random=is_random)


def _dropped(module: SliceAttention, y: Tensor, drawing: Drawing) -> Tensor:
    if not (module.training and module.dropout):
        return y
    return drop_tokens(y, module.dropout, drawing.beside(2))
