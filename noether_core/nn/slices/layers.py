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
from noether_core.nn.noise import draw_seed
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


class TokenChunk(NamedTuple):
    """Which tokens are computed, where these are not all."""

    start: int
    """Number of the first of them."""

    total: int
    """Number of all tokens."""

    seed: Tensor | None
    """Decides the noise of the slice weights; None without."""


class SliceLayers(Protocol):
    """A module that attends through slices, by what its layers make."""

    def weigh(self, x: Tensor, chunk: TokenChunk | None) -> Weighed:
        """Return what layers make of tokens.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            chunk: Which tokens these are; None for all.
        """
        ...

    def mix(self, gathered: Tensor) -> Tensor:
        """Return what slices get of each other, ``(batch, heads, slices, head_dim)``."""
        ...

    def project(self, read: Tensor) -> Tensor:
        """Return the output of tokens, ``(batch, tokens, hidden_dim)``."""
        ...


def attend_by_layers(
    layers: SliceLayers,
    x: Tensor,
    is_real: Tensor | None,
    *,
    size: int | None = None,
    draws_noise: bool = False,
) -> Tensor:
    """Return the output of attention through slices, ``(batch, tokens, hidden_dim)``.

    In chunks, memory holds the slice weights of one chunk: autograd makes them again for
    gradients. Layers are called twice with each token, and in the backward pass again; what they
    draw is the same each time. Graphs of compilers hold the weights of all tokens.

    Args:
        layers: The layers, which are called.
        x: ``(batch, tokens, hidden_dim)``.
        is_real: ``(batch, tokens)`` booleans; None where all tokens are real.
        size: Tokens of all samples that are computed at once; None for all.
        draws_noise: Whether noise is added to the slice weights.
    """
    if size is None or is_traced():
        return _attend_at_once(layers, x, is_real)
    return _attend_by_chunks(layers, x, _Parts(x, is_real, size, draws_noise=draws_noise))


class _Parts:
    """Tokens in chunks, as often as they are walked through."""

    def __init__(self, x: Tensor, is_real: Tensor | None, size: int, *, draws_noise: bool) -> None:
        batch, self._tokens, _ = x.shape
        self._count = max(1, size // max(1, batch))
        self._x = CutTokens(x, self._count)
        self._is_real = is_real
        self._seed = draw_seed(x.device) if draws_noise else None

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None, TokenChunk]]:
        spans = chunks_of([slice(0, self._tokens)], self._count)
        for x, span in zip(self._x, spans, strict=True):
            is_real = None if self._is_real is None else self._is_real[:, span]
            yield x, is_real, TokenChunk(span.start, self._tokens, self._seed)


def _attend_by_chunks(layers: SliceLayers, like: Tensor, parts: _Parts) -> Tensor:
    """Compute one part of the tokens after the other, in two passes."""

    def gather(x: Tensor, is_real: Tensor | None, chunk: TokenChunk) -> Tensor:
        weights, features = layers.weigh(_without_padding(x, is_real), chunk)
        sums = _exact_sums(weights, features(), is_real)
        return sums.to(dtype_of_sums(sums.dtype))

    def read(x: Tensor, is_real: Tensor | None, chunk: TokenChunk, mixed: Tensor) -> Tensor:
        weights = layers.weigh(_without_padding(x, is_real), chunk).weights
        return layers.project(merge_heads(read_slices(weights, mixed, is_real)))

    generators, sums = [], None
    for part in parts:
        generators.append(_Generators(like.device))
        own = recomputed(gather, *part)
        sums = own if sums is None else sums + own
    assert sums is not None  # noqa: S101  no tokens are no chunks
    mixed = layers.mix(means_of(sums).to(dtype_of_results(like)))

    def outputs() -> Iterator[Tensor]:
        for part, generator in zip(parts, generators, strict=True):
            with generator.again():
                output = recomputed(read, *part, mixed)
            yield output

    return join_tokens(outputs(), like.shape[1])


def _attend_at_once(layers: SliceLayers, x: Tensor, is_real: Tensor | None) -> Tensor:
    """Compute all tokens at once, and hold their slice weights."""
    weights, features = layers.weigh(_without_padding(x, is_real), None)
    mixed = layers.mix(gather_slices(weights, features(), is_real))
    return layers.project(merge_heads(read_slices(weights, mixed, is_real)))


def _without_padding(x: Tensor, is_real: Tensor | None) -> Tensor:
    """Return tokens of which padding, whatever it holds, NaN included, takes no part."""
    return x if is_real is None else x.masked_fill(~is_real.unsqueeze(-1), 0.0)


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
