"""Attention of every token to a few others, chunk by chunk, and its gradients: pairs never have
keys of their own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from noether_core.nn import dropout_at
from noether_core.nn.operators import dtype_of_sums
from noether_plugins.attention.irregular_nat.relpos import add_gradients_, bias_of, features_of
from noether_plugins.attention.irregular_nat.sums import (
    readers_in,
    sum_over_others,
    sum_over_readers,
    walk_through,
)
from noether_plugins.attention.irregular_nat.tokens import (
    Reading,
    RelposWeights,
    Tokens,
    each_weight,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = {"cpu": 1 << 22}
"""Numbers of gathered keys, of values, or of inner features that a chunk holds: what the caches of
a device hold.
"""

_CHUNK_ELSEWHERE = 1 << 25
"""Likewise where starting an operation takes longer than a chunk of a CPU."""


class _Scales(NamedTuple):
    """What dropout multiplies the weights and the inner features of a chunk with; None where
    nothing is dropped.
    """

    shares: Tensor | None
    """``(heads, rows, degree)``."""

    features: Tensor | None
    """``(rows * degree, relpos_hidden_dim)``."""


class _Work:
    """Everything that chunks are computed from, in the dtype in which sums are taken."""

    def __init__(self, tokens: Tokens, weights: RelposWeights, reading: Reading) -> None:
        dtype = dtype_of_sums(tokens.queries.dtype)
        self.queries, self.keys, self.values = (
            tensor.to(dtype).contiguous() for tensor in tokens[:3]
        )
        self.positions = tokens.positions
        self.weights = each_weight(lambda weight: weight.to(dtype), weights)
        self.reading = reading
        self.walk = walk_through(reading.neighbours, reading.walk)

        self.heads = reading.num_heads
        self.count, self.degree = reading.neighbours.shape
        self.scale = 1 / math.sqrt(self.queries.shape[1] // self.heads)
        width = max(self.queries.shape[1], weights.inner.shape[0])
        held = _CHUNK.get(self.queries.device.type, _CHUNK_ELSEWHERE)
        self.step = max(1, min(self.count, held // (self.degree * width)))
        self.gathered = self.queries.new_empty(self.step * self.degree, self.queries.shape[1])

    def chunks(self) -> Iterator[slice]:
        """Yield where in the walk each chunk is."""
        return (
            slice(start, min(start + self.step, self.count))
            for start in range(0, self.count, self.step)
        )

    def by_head(self, tensor: Tensor) -> Tensor:
        """Return *tensor* ``(tokens, hidden_dim)`` as ``(tokens, heads, head_dim)``."""
        return tensor.view(tensor.shape[0], self.heads, tensor.shape[1] // self.heads)

    def weights_of_pairs(self) -> Tensor:
        """Return room for a number for every head and pair, ``(heads, tokens, degree)``."""
        return self.queries.new_empty(self.heads, self.count, self.degree)

    def products(self, asking: Tensor, answering: Tensor, rows: slice) -> Tensor:
        """Return the products of *asking* with what it reads of *answering*, ``(heads, rows,
        degree)``.
        """
        others = self.walk.others[rows].flatten()
        gathered = self.gathered[: len(others)]
        torch.index_select(answering, 0, others, out=gathered)
        pairs = gathered.view(-1, self.degree, self.heads, answering.shape[1] // self.heads)
        pairs.mul_(self.by_head(asking.index_select(0, self.walk.tokens[rows])).unsqueeze(1))
        return pairs.sum(dim=-1).permute(2, 0, 1)

    def offsets(self, rows: slice) -> Tensor:
        """Return where the others are, seen from each token, ``(rows * degree, coordinates)``; zero
        where none is.
        """
        others, own = self.walk.others[rows], self.walk.tokens[rows]
        there = self.positions.index_select(0, others.flatten()).view(
            *others.shape, self.positions.shape[1]
        )
        offsets = there - self.positions.index_select(0, own).unsqueeze(1)
        offsets.masked_fill_(self.walk.is_missing[rows].unsqueeze(-1), 0.0)
        return offsets.flatten(0, 1).to(self.queries.dtype)

    def scales(self, rows: slice) -> _Scales:
        """Return what dropout multiplies with."""
        tokens, (of_shares, of_features) = self.walk.tokens[rows], self.reading.seeds
        shares = features = None
        if of_shares is not None:
            ones = self.queries.new_ones(len(tokens), self.degree, self.heads)
            shares = dropout_at(ones, self.reading.dropout, of_shares, tokens).permute(2, 0, 1)
        if of_features is not None:
            ones = self.queries.new_ones(len(tokens), self.degree, self.weights.inner.shape[0])
            features = dropout_at(ones, self.reading.relpos_dropout, of_features, tokens).flatten(
                0, 1
            )
        return _Scales(shares, features)


def read_by_chunks(
    tokens: Tokens, weights: RelposWeights, reading: Reading
) -> tuple[Tensor, Tensor]:
    """Return what every token reads, ``(tokens, hidden_dim)``, and the weights it reads with.

    The weights are ``(heads, tokens, degree)``, before dropout; tokens are in the order of the
    walk.
    """
    work = _Work(tokens, weights, reading)
    shares = work.weights_of_pairs()
    kept = shares if reading.seeds[0] is None else work.weights_of_pairs()
    for rows in work.chunks():
        scales = work.scales(rows)
        logits = bias_of(
            features_of(work.offsets(rows), work.weights, scales.features), work.weights
        )
        logits = logits.view(work.heads, -1, work.degree)
        logits.add_(work.products(work.queries, work.keys, rows), alpha=work.scale)

        is_missing = work.walk.is_missing[rows]
        logits.masked_fill_(
            is_missing, torch.finfo(logits.dtype).min
        )  # where none is there, weights are zeroed below
        shares[:, rows] = logits.softmax(dim=-1).masked_fill_(is_missing, 0.0)
        if scales.shares is not None:
            torch.mul(shares[:, rows], scales.shares, out=kept[:, rows])

    read = torch.empty_like(work.values)
    sum_over_others(work.by_head(work.values), kept, work.walk, work.by_head(read))
    return read.to(tokens.values.dtype), shares


def gradients_by_chunks(
    gradient: Tensor, shares: Tensor, tokens: Tokens, weights: RelposWeights, reading: Reading
) -> tuple[Tokens, RelposWeights]:
    """Return the gradients of tokens and weights.

    Args:
        gradient: Of what the tokens read.
        shares: What `read_by_chunks` returned.
        tokens: As there.
        weights: As there.
        reading: As there.
    """
    work = _Work(tokens, weights, reading)
    gradient = gradient.to(work.values.dtype).contiguous()
    of_logits = work.weights_of_pairs()
    kept = shares if reading.seeds[0] is None else work.weights_of_pairs()
    of_positions = work.positions.new_zeros(
        work.positions.shape, dtype=dtype_of_sums(work.positions.dtype)
    )
    of_weights = each_weight(lambda weight: weight.new_zeros(weight.shape), work.weights)

    for rows in work.chunks():
        scales = work.scales(rows)
        of_shares = work.products(gradient, work.values, rows)
        if scales.shares is not None:
            of_shares = of_shares * scales.shares
            torch.mul(shares[:, rows], scales.shares, out=kept[:, rows])
        chunk = of_logits[:, rows]
        torch.mul(of_shares, shares[:, rows], out=chunk)
        chunk.addcmul_(shares[:, rows], chunk.sum(dim=-1, keepdim=True), value=-1)

        of_offsets = add_gradients_(
            of_weights, chunk.flatten(1), work.offsets(rows), work.weights, scales.features
        ).to(of_positions.dtype)
        of_positions.index_add_(0, work.walk.others[rows].flatten(), of_offsets)
        own = of_offsets.view(-1, work.degree, of_offsets.shape[1]).sum(dim=1)
        of_positions.index_add_(0, work.walk.tokens[rows], own, alpha=-1)

    queries, keys, values = (
        torch.empty_like(tensor) for tensor in (work.queries, work.keys, work.values)
    )
    sum_over_others(work.by_head(work.keys), of_logits, work.walk, work.by_head(queries))
    readers = readers_in(work.walk)
    sum_over_readers(work.by_head(work.queries), of_logits, readers, work.by_head(keys))
    sum_over_readers(work.by_head(gradient), kept, readers, work.by_head(values))
    queries.mul_(work.scale), keys.mul_(work.scale)
    return Tokens(queries, keys, values, of_positions), of_weights
