"""Attention through slices by calls of its layers, whatever these are: all at once, or in chunks.

Layers that are plain are read by the operator that streams; adapters, quantised layers and hooks
have to be called.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from noether_core.nn.layers import merge_heads
from noether_core.nn.noise import Drawing, seed_beside
from noether_core.nn.operators import dtype_of_results, dtype_of_sums, without_autocast
from noether_core.nn.slices.reference import (
    gather_slices,
    means_of,
    read_slices,
    sum_into_slices,
)
from noether_core.nn.streaming import chunks_of, is_traced, recomputed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
    parts, generators, sums = _cut(call), [], []
    for part in parts:
        generators.append(_Generators(call.x.device))
        sums.append(recomputed(_sums_of, layers, part))

    mixed = mix_by_layers(layers, _added_up(sums), call)
    outputs = []
    for part, generator in zip(parts, generators, strict=True):
        with generator.again():
            outputs.append(recomputed(_output_of, layers, part, mixed))
    return torch.cat(outputs, dim=1)


def gather_by_layers(layers: SliceLayers, call: Call) -> Tensor:
    """Return what tokens give to slices, as `sum_into_slices` does, in the dtype of sums."""
    if call.size is None or is_traced():
        return _sums_of(layers, call)
    return _added_up([recomputed(_sums_of, layers, part) for part in _cut(call)])


def mix_by_layers(layers: SliceLayers, sums: Tensor, call: Call) -> Tensor:
    """Return what slices get of each other, from what all tokens gave to them."""
    return layers.mix(
        means_of(sums).to(dtype_of_results(call.x)), seed_of_mixing(call.drawing.seed)
    )


def seed_of_mixing(seed: Tensor | None) -> Tensor | None:
    """Return the seed of what is dropped among slices, from that of the call."""
    return seed_beside(seed, 1)


def read_by_layers(layers: SliceLayers, mixed: Tensor, call: Call) -> Tensor:
    """Return the output of tokens that read slices, of which *mixed* is what `mix` returned."""
    if call.size is None or is_traced():
        return _output_of(layers, call, mixed)
    return torch.cat([recomputed(_output_of, layers, part, mixed) for part in _cut(call)], dim=1)


def _sums_of(layers: SliceLayers, part: Call) -> Tensor:
    weights, features = layers.weigh(_real_tokens(part), part.drawing)
    sums = _exact_sums(weights, features(), part.is_real)
    return sums.to(dtype_of_sums(sums.dtype))


def _output_of(layers: SliceLayers, part: Call, mixed: Tensor) -> Tensor:
    weights = layers.weigh(_real_tokens(part), part.drawing).weights
    return layers.project(merge_heads(read_slices(weights, mixed, part.is_real)))


def _attend_at_once(layers: SliceLayers, call: Call) -> Tensor:
    """Compute all tokens at once, and hold their slice weights."""
    weights, features = layers.weigh(_real_tokens(call), call.drawing)
    gathered = gather_slices(weights, features(), call.is_real)
    mixed = layers.mix(gathered, seed_of_mixing(call.drawing.seed))
    return layers.project(merge_heads(read_slices(weights, mixed, call.is_real)))


def _cut(call: Call) -> list[Call]:
    """Return the parts of the tokens of a call that are computed one after the other."""
    x, is_real, (seed, first), size = call
    batch, tokens, _ = x.shape
    count = max(1, (size or 1) // max(1, batch))
    spans = chunks_of([slice(0, tokens)], count)
    drawings = [Drawing(seed, first + span.start) for span in spans]

    # Views of one split: the gradient of each slice by itself would be a tensor of all tokens.
    parts = x.split(count, dim=1)  # type: ignore[no-untyped-call]  # torch's own
    real = [None] * len(parts) if is_real is None else torch.split(is_real, count, dim=1)
    return [Call(*part) for part in zip(parts, real, drawings, strict=True)]


def _added_up(sums: list[Tensor]) -> Tensor:
    total, *others = sums
    for part in others:
        total = total + part
    return total


def _real_tokens(call: Call) -> Tensor:
    """Return tokens of which padding, whatever it holds, NaN included, takes no part."""
    if call.is_real is None:
        return call.x
    return call.x.masked_fill(~call.is_real.unsqueeze(-1), 0.0)


def _exact_sums(weights: Tensor, features: Tensor, is_real: Tensor | None) -> Tensor:
    """Return `sum_into_slices`, which half precision would not hold."""
    if torch.float16 not in (weights.dtype, features.dtype):
        return sum_into_slices(weights, features, is_real)
    with without_autocast(features.device):
        return sum_into_slices(weights.float(), features.float(), is_real)


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
