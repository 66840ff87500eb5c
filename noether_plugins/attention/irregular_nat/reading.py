"""Attention of every token to a few others, chunk by chunk: their keys and values are never gathered all at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from noether_core.nn import dropout_at, refuse_derivatives

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CHUNK = 1 << 20
"""Numbers of gathered keys, of values, or of inner features that a chunk holds: what caches hold."""

_AT_ONCE = 1 << 22
"""Such numbers up to which everything is one chunk, left to autograd."""

_NO_SECOND_DERIVATIVE = "irregular_nat: there is no second derivative where tokens are read chunk by chunk; give fewer"


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
    """The weights of the MLP from relative positions to a bias of every head; layers may have no bias."""

    inner: Tensor
    outer: Tensor
    inner_bias: Tensor | None
    outer_bias: Tensor | None


class Reading(NamedTuple):
    """Who reads whom, and how."""

    neighbours: Tensor
    """``(tokens, degree)`` numbers of tokens; -1 where there is none."""

    num_heads: int
    dropout: float
    relpos_dropout: float

    seeds: tuple[Tensor, Tensor] | None
    """What decides which weights and which inner features are dropped; None where none are."""


class _Chunk(NamedTuple):
    """Some tokens, and what their neighbours answer."""

    queries: Tensor
    """``(rows, hidden_dim)``."""

    keys: Tensor
    """``(rows, degree, hidden_dim)``."""

    values: Tensor
    """``(rows, degree, hidden_dim)``."""

    offsets: Tensor
    """``(rows, degree, coordinates)``: from a token to its neighbours."""


def read_neighbours(tokens: Tokens, weights: RelposWeights, reading: Reading) -> Tensor:
    """Return what every token reads from its neighbours, ``(tokens, hidden_dim)``; one without any reads zeros.

    ``softmax(q_i k_j^T / sqrt(d) + b(p_j - p_i)) v_j`` over the neighbours ``j`` of token ``i``, in every head. Beyond
    a few million gathered numbers, tokens are read chunk by chunk and the backward pass computes each chunk again, so
    that memory grows with the tokens alone.

    Raises:
        DerivativeError: If a second derivative is asked for of more than one chunk.
    """
    if torch.compiler.is_compiling() or reading.neighbours.numel() * _width(tokens, weights) <= _AT_ONCE:
        everything = slice(0, tokens.queries.shape[0])
        return _read(_gathered(tokens, _others(reading, everything), everything), weights, reading, everything)
    read: Tensor = _ChunkByChunk.apply(reading, *tokens, *weights)  # type: ignore[no-untyped-call]
    return read


class _ChunkByChunk(torch.autograd.Function):
    """Reads one chunk after the other, and once more for the gradients."""

    @staticmethod
    def forward(ctx: Any, reading: Reading, *tensors: Tensor) -> Tensor:
        ctx.reading = reading
        ctx.save_for_backward(*tensors)
        tokens, weights = Tokens(*tensors[:4]), RelposWeights(*tensors[4:])
        read = torch.empty_like(tokens.values)
        for rows in _chunks(reading, _width(tokens, weights)):
            read[rows] = _read(_gathered(tokens, _others(reading, rows), rows), weights, reading, rows)
        return read

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            gradients = _gradients(ctx.reading, ctx.saved_tensors, gradient)
        return None, *refuse_derivatives(gradients, _NO_SECOND_DERIVATIVE)


def _gradients(reading: Reading, tensors: Sequence[Any], gradient: Tensor) -> list[Tensor | None]:
    """Return the gradients of *tensors*, those of `Tokens` and `RelposWeights`, by computing each chunk once more."""
    tokens = Tokens(*tensors[:4])
    trained = [_leaf(weight) for weight in tensors[4:] if weight is not None]
    weights = RelposWeights(*_in_place_of(tensors[4:], trained))
    sums = [torch.zeros_like(tensor, dtype=_wide(tensor.dtype)) for tensor in (*tokens, *trained)]
    of_tokens, of_weights = Tokens(*sums[:4]), sums[4:]

    for rows in _chunks(reading, _width(tokens, weights)):
        others = _others(reading, rows)
        chunk = _Chunk(*map(_leaf, _gathered(tokens, others, rows)))
        with torch.enable_grad():
            read = _read(chunk, weights, reading, rows)
        queries, keys, values, offsets, *parts = torch.autograd.grad(read, (*chunk, *trained), gradient[rows])

        of_tokens.queries[rows] = queries.to(of_tokens.queries.dtype)
        for total, part in zip(of_tokens[1:], (keys, values, offsets), strict=True):
            total.index_add_(0, others.flatten(), part.flatten(0, 1).to(total.dtype))
        of_tokens.positions[rows] -= offsets.sum(dim=1)
        for total, part in zip(of_weights, parts, strict=True):
            total.add_(part)

    totals = [total.to(tensor.dtype) for total, tensor in zip(sums, (*tokens, *trained), strict=True)]
    return [*totals[:4], *_in_place_of(tensors[4:], totals[4:])]


def _read(chunk: _Chunk, weights: RelposWeights, reading: Reading, rows: slice) -> Tensor:
    """Return what the tokens of a chunk read, ``(rows, hidden_dim)``."""
    heads = reading.num_heads
    width = chunk.queries.shape[1] // heads
    wide = _wide(chunk.queries.dtype)
    is_there = (reading.neighbours[rows] >= 0).unsqueeze(-1)
    of_weights, of_features = reading.seeds or (None, None)

    with torch.autocast(chunk.queries.device.type, enabled=False):
        offsets = chunk.offsets.masked_fill(~is_there, 0.0).to(weights.inner.dtype)  # padding may be anywhere, or NaN
        inner = functional.gelu(functional.linear(offsets, weights.inner, weights.inner_bias))
        if of_features is not None:
            inner = dropout_at(inner, reading.relpos_dropout, of_features, _numbers(rows, chunk.queries))
        bias = functional.linear(inner, weights.outer, weights.outer_bias)

        keys, values = (tensor.view(*is_there.shape[:2], heads, width) for tensor in (chunk.keys, chunk.values))
        products = chunk.queries.view(chunk.queries.shape[0], 1, heads, width).to(wide) * keys
        logits = products.sum(dim=-1) / math.sqrt(width) + bias

        logits = logits.masked_fill(~is_there, torch.finfo(wide).min)  # where none is there, weights are zeroed below
        shares = logits.softmax(dim=1).masked_fill(~is_there, 0.0)
        if of_weights is not None:
            shares = dropout_at(shares, reading.dropout, of_weights, _numbers(rows, chunk.queries))

        read: Tensor = (shares.unsqueeze(-1) * values).sum(dim=1)
        return read.to(values.dtype).flatten(1)


def _gathered(tokens: Tokens, others: Tensor, rows: slice) -> _Chunk:
    """Return the chunk of the tokens *rows*, whose neighbours are *others*, ``(rows, degree)``."""
    keys, values, positions = (
        tensor.index_select(0, others.flatten()).view(*others.shape, tensor.shape[1]) for tensor in tokens[1:]
    )
    return _Chunk(tokens.queries[rows], keys, values, positions - tokens.positions[rows].unsqueeze(1))


def _others(reading: Reading, rows: slice) -> Tensor:
    """Return the neighbours of some tokens, themselves where there is none."""
    neighbours = reading.neighbours[rows]
    return torch.where(neighbours < 0, _numbers(rows, neighbours).unsqueeze(1), neighbours)


def _numbers(rows: slice, beside: Tensor) -> Tensor:
    return torch.arange(rows.start, rows.stop, device=beside.device)


def _width(tokens: Tokens, weights: RelposWeights) -> int:
    """Return how many numbers a neighbour takes: the more of its keys and of the inner features of its position."""
    return max(tokens.keys.shape[1], weights.inner.shape[0])


def _chunks(reading: Reading, width: int) -> Iterator[slice]:
    """Yield the tokens of each chunk."""
    count, degree = reading.neighbours.shape
    step = max(1, _CHUNK // (degree * width))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def _in_place_of(tensors: Sequence[Tensor | None], others: Sequence[Tensor]) -> list[Any]:
    """Return *others* in the places of the *tensors* that are there."""
    following = iter(others)
    return [None if tensor is None else next(following) for tensor in tensors]


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_()


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which sums are taken."""
    return torch.float64 if dtype == torch.float64 else torch.float32
