"""Attention through slices by calls of its layers, whatever these are: all at once, or in chunks.

Layers that are plain are read by the operator that streams; adapters, quantised layers and hooks
have to be called.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from noether_core.nn.chunked import CutTokens, join_tokens
from noether_core.nn.layers import merge_heads
from noether_core.nn.noise import Drawing, seed_beside
from noether_core.nn.operators import dtype_of_results, dtype_of_sums
from noether_core.nn.slices.reference import (
    EPS,
    gather_slices,
    means_of,
    read_slices,
    sum_into_slices,
)
from noether_core.nn.streaming import chunks_of, is_traced, recomputed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from noether_core.nn.slices.context import SliceContext


class Weighed(NamedTuple):
    """What layers make of tokens."""

    weights: Tensor
    """``(batch, heads, tokens, slices)``: how much a token belongs to each slice."""

    features: Callable[[], Tensor]
    """Makes ``(batch, heads, tokens, head_dim)``: what slices gather. Called at most once, and
    after the weights were made.
    """


class SliceLayers(Protocol):
    """A module that attends through slices, by what its layers make."""

    def weigh(self, x: Tensor, drawing: Drawing) -> Weighed:
        """Return what layers make of tokens.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            drawing: Decides the noise of the slice weights.
        """
        ...

    def mix(self, gathered: Tensor, seed: Tensor | None) -> Tensor:
        """Return what slices get of each other, ``(batch, heads, slices, head_dim)``.

        Args:
            gathered: The same shape: the means of their tokens.
            seed: Decides which weights are dropped; None where none are.
        """
        ...

    def project(self, read: Tensor) -> Tensor:
        """Return the output of tokens, ``(batch, tokens, hidden_dim)``."""
        ...


class Call(NamedTuple):
    """Tokens of a call, and how they are computed."""

    x: Tensor
    """``(batch, tokens, hidden_dim)``."""

    is_real: Tensor | None = None
    """``(batch, tokens)`` booleans; None where all tokens are real."""

    drawing: Drawing = Drawing()

    size: int | None = None
    """Tokens of all samples that are computed at once; None for all."""

    context: SliceContext | None = None
    """What slices attend to beside each other."""

    eps: float = EPS
    """Added to the sum of the weights of a slice."""


def attend_by_layers(layers: SliceLayers, call: Call) -> Tensor:
    """Return the output of attention through slices, ``(batch, tokens, hidden_dim)``.

    In chunks, memory holds the slice weights of one chunk: autograd makes them again for
    gradients. Layers are called twice with each token, and in the backward pass again; what they
    draw is the same each time. Graphs of compilers hold the weights of all tokens.

    Args:
        layers: The layers, which are called.
        call: The tokens.
    """
    if call.size is None or is_traced():
        return _attend_at_once(layers, call)
    parts, generators, sums = _Parts(call), [], None
    for part in parts:
        generators.append(_Generators(call.x.device))
        own = recomputed(_sums_of, layers, part)
        sums = own if sums is None else sums + own
    assert sums is not None  # noqa: S101  no tokens are no chunks
    mixed = mix_by_layers(layers, sums, call)

    def outputs() -> Iterator[Tensor]:
        for part, generator in zip(parts, generators, strict=True):
            with generator.again():
                output = recomputed(_output_of, layers, part, mixed)
            yield output

    return join_tokens(outputs(), call.x.shape[1])


def gather_by_layers(layers: SliceLayers, call: Call) -> Tensor:
    """Return what tokens give to slices, as `sum_into_slices` does, in the dtype of sums."""
    if call.size is None or is_traced():
        return _sums_of(layers, call)
    sums = None
    for part in _Parts(call):
        own = recomputed(_sums_of, layers, part)
        sums = own if sums is None else sums + own
    assert sums is not None  # noqa: S101  no tokens are no chunks
    return sums


def mix_by_layers(layers: SliceLayers, sums: Tensor, call: Call) -> Tensor:
    """Return what slices get of each other, from what all tokens gave to them."""
    return _mixed(layers, means_of(sums, eps=call.eps).to(dtype_of_results(call.x)), call)


def _mixed(layers: SliceLayers, means: Tensor, call: Call) -> Tensor:
    seed = seed_of_mixing(call.drawing.seed)
    mixed = layers.mix(means, seed)
    return mixed if call.context is None else call.context.mix(means, mixed, seed)


def seed_of_mixing(seed: Tensor | None) -> Tensor | None:
    """Return the seed of what is dropped among slices, from that of the call."""
    return seed_beside(seed, 1)


def read_by_layers(layers: SliceLayers, mixed: Tensor, call: Call) -> Tensor:
    """Return the output of tokens that read slices, of which *mixed* is what `mix` returned."""
    if call.size is None or is_traced():
        return _output_of(layers, call, mixed)
    outputs = (recomputed(_output_of, layers, part, mixed) for part in _Parts(call))
    return join_tokens(outputs, call.x.shape[1])


def _sums_of(layers: SliceLayers, part: Call) -> Tensor:
    weights, features = layers.weigh(_real_tokens(part), part.drawing)
    sums = sum_into_slices(weights, features(), part.is_real)
    return sums.to(dtype_of_sums(sums.dtype))


def _output_of(layers: SliceLayers, part: Call, mixed: Tensor) -> Tensor:
    weights = layers.weigh(_real_tokens(part), part.drawing).weights
    return layers.project(merge_heads(read_slices(weights, mixed, part.is_real)))


def _attend_at_once(layers: SliceLayers, call: Call) -> Tensor:
    """Compute all tokens at once, and hold their slice weights."""
    weights, features = layers.weigh(_real_tokens(call), call.drawing)
    gathered = gather_slices(weights, features(), call.is_real, eps=call.eps)
    mixed = _mixed(layers, gathered, call)
    return layers.project(merge_heads(read_slices(weights, mixed, call.is_real)))


class _Parts:
    """The tokens of a call in chunks, as often as they are walked through."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._count = max(1, (call.size or 1) // max(1, call.x.shape[0]))
        self._x = CutTokens(call.x, self._count)

    def __iter__(self) -> Iterator[Call]:
        x, is_real, drawing, *_ = self._call
        spans = chunks_of([slice(0, x.shape[1])], self._count)
        for own, span in zip(self._x, spans, strict=True):
            real = None if is_real is None else is_real[:, span]
            yield Call(own, real, drawing.part(span.start))


def _real_tokens(call: Call) -> Tensor:
    """Return tokens of which padding, whatever it holds, NaN included, takes no part."""
    if call.is_real is None:
        return call.x
    return call.x.masked_fill(~call.is_real.unsqueeze(-1), 0.0)


class _Generators:
    """What torch's generators were at some time, so that layers draw the same a second time."""

    def __init__(self, device: torch.device) -> None:
        self._devices = [device] if device.type == "cuda" else []
        self._state = torch.get_rng_state()
        self._states = [torch.cuda.get_rng_state(each) for each in self._devices]

    @contextmanager
    def again(self) -> Iterator[None]:
        """Put the generators back to that time, and leave them as they were before."""
        with torch.random.fork_rng(self._devices):
            torch.set_rng_state(self._state)
            for device, state in zip(self._devices, self._states, strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
