"""Weighted sums over neighbours, and over those whose neighbour a token is; no pair gets a copy."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Walk(NamedTuple):
    """Tokens in an order in which those near each other stand together, with their neighbours.

    Caches then hold what a token attends to.
    """

    tokens: Tensor
    """``(tokens,)`` numbers of tokens."""

    neighbours: Tensor
    """``(tokens, degree)`` numbers of the neighbours of each of these; its own where there is no
    further one.
    """

    is_missing: Tensor
    """``(tokens, degree)``: whether there is no further one."""


class PairsByNeighbour(NamedTuple):
    """The pairs of a walk, sorted by the neighbour in them."""

    tokens: Tensor
    """``(pairs,)`` numbers of the tokens that attend."""

    pairs: Tensor
    """``(pairs,)`` numbers of the pairs in the walk."""

    starts: Tensor
    """``(tokens + 1,)``: where the pairs of each neighbour start."""


def walk_through(neighbours: Tensor, order: Tensor) -> Walk:
    """Return the walk in some order.

    Args:
        neighbours: ``(tokens, degree)`` numbers of tokens; -1 where there is no further one.
        order: ``(tokens,)`` numbers of all tokens.
    """
    others = neighbours.index_select(0, order)
    is_missing = others < 0
    return Walk(order, torch.where(is_missing, order.unsqueeze(1), others), is_missing)


def pairs_by_neighbour(walk: Walk) -> PairsByNeighbour:
    """Return the pairs of *walk*, sorted by the neighbour in them."""
    count, degree = walk.neighbours.shape
    neighbours, pairs = torch.sort(walk.neighbours.flatten(), stable=True)
    every_token = torch.arange(count + 1, device=neighbours.device)
    starts = torch.searchsorted(neighbours, every_token)
    return PairsByNeighbour(walk.tokens.index_select(0, pairs // degree), pairs, starts)


def sum_over_neighbours(rows: Tensor, weights: Tensor, walk: Walk, out: Tensor) -> None:
    """Write to *out*, for every token and head, the weighted sum of the rows of its neighbours.

    Args:
        rows: ``(tokens, heads, width)``.
        weights: ``(heads, tokens, degree)``, tokens in the order of the walk.
        walk: The neighbours of each token.
        out: ``(tokens, heads, width)``.
    """
    for head, weight in enumerate(weights):
        table = rows.select(1, head).contiguous()
        sums = functional.embedding_bag(
            walk.neighbours, table, mode="sum", per_sample_weights=weight
        )
        out.select(1, head).index_copy_(0, walk.tokens, sums)


def sum_over_attending(rows: Tensor, weights: Tensor, pairs: PairsByNeighbour, out: Tensor) -> None:
    """Write to *out*, for every token and head, the weighted sum of the rows that attend to it.

    Args:
        rows: ``(tokens, heads, width)``.
        weights: ``(heads, tokens, degree)``, tokens in the order of the walk.
        pairs: The tokens that attend to each.
        out: ``(tokens, heads, width)``.
    """
    for head, weight in enumerate(weights):
        sums = functional.embedding_bag(
            pairs.tokens,
            rows.select(1, head).contiguous(),
            offsets=pairs.starts,
            mode="sum",
            per_sample_weights=weight.flatten().index_select(0, pairs.pairs),
            include_last_offset=True,
        )
        out.select(1, head).copy_(sums)
