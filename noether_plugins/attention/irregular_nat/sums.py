"""Weighted sums of rows over those whom a token reads, or over those who read it; no row is copied
for a pair.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Walk(NamedTuple):
    """Tokens in the order in which they are read, those near each other together: caches then hold
    what they read.
    """

    tokens: Tensor
    """``(tokens,)`` numbers of tokens."""

    others: Tensor
    """``(tokens, degree)`` numbers of those whom each of these reads; its own where there is no
    further one.
    """

    is_missing: Tensor
    """``(tokens, degree)``: whether there is no further one."""


class Readers(NamedTuple):
    """A walk turned round: the pairs of a walk, sorted by who is read."""

    tokens: Tensor
    """``(pairs,)`` numbers of the tokens that read."""

    pairs: Tensor
    """``(pairs,)`` places of the pairs in the walk."""

    starts: Tensor
    """``(tokens + 1,)``: where the readers of each token start."""


def walk_through(neighbours: Tensor, order: Tensor) -> Walk:
    """Return the walk in *order* ``(tokens,)`` through *neighbours* ``(tokens, degree)``, -1 where
    there is none.
    """
    others = neighbours.index_select(0, order)
    is_missing = others < 0
    return Walk(order, torch.where(is_missing, order.unsqueeze(1), others), is_missing)


def readers_in(walk: Walk) -> Readers:
    """Return who reads each token."""
    count, degree = walk.others.shape
    read, pairs = torch.sort(walk.others.flatten(), stable=True)
    starts = torch.searchsorted(read, torch.arange(count + 1, device=read.device))
    return Readers(walk.tokens.index_select(0, pairs // degree), pairs, starts)


def sum_over_others(rows: Tensor, weights: Tensor, walk: Walk, out: Tensor) -> None:
    """Write to *out*, for every token and head, the weighted sum of the rows of those whom it
    reads.

    Args:
        rows: ``(tokens, heads, width)``.
        weights: ``(heads, tokens, degree)``, tokens in the order of the walk.
        walk: Who reads whom.
        out: ``(tokens, heads, width)``.
    """
    for head, weight in enumerate(weights):
        table = rows.select(1, head).contiguous()
        sums = functional.embedding_bag(walk.others, table, mode="sum", per_sample_weights=weight)
        out.select(1, head).index_copy_(0, walk.tokens, sums)


def sum_over_readers(rows: Tensor, weights: Tensor, readers: Readers, out: Tensor) -> None:
    """Write to *out*, for every token and head, the weighted sum of the rows of those who read it.

    Args:
        rows: ``(tokens, heads, width)``.
        weights: ``(heads, tokens, degree)``, tokens in the order of the walk.
        readers: Who is read by whom.
        out: ``(tokens, heads, width)``.
    """
    for head, weight in enumerate(weights):
        sums = functional.embedding_bag(
            readers.tokens,
            rows.select(1, head).contiguous(),
            offsets=readers.starts,
            mode="sum",
            per_sample_weights=weight.flatten().index_select(0, readers.pairs),
            include_last_offset=True,
        )
        out.select(1, head).copy_(sums)
