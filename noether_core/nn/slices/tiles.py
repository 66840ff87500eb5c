"""Tokens cut into tiles whose slice weights fit into the cache, and products within a tile.

What tokens have goes around with batch and tokens as one axis, ``(batch * tokens, width)``, and
what heads have with batch and heads as one, ``(batch * heads, ...)``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from noether_core.nn.slices.scratch import Scratch

if TYPE_CHECKING:
    from torch import Tensor

    from noether_core.nn.slices.operands import Choices, Operands


class Tile(NamedTuple):
    """Some tokens of one sample, or all tokens of some samples, and what is computed of them."""

    rows: slice
    """Where its tokens stand among those of the batch."""

    slices: slice
    """Where the slices of its samples stand: heads among those of the batch."""

    batch: int
    """Number of its samples."""

    operands: Operands
    choices: Choices
    scratch: Scratch

    def repeated(self, of_heads: Tensor) -> Tensor:
        """Return what each head has, ``(heads, ...)``, for each sample: ``(batch * heads, ...)``."""
        return (
            of_heads
            if self.batch == 1
            else of_heads.repeat(self.batch, *(1,) * (of_heads.dim() - 1))
        )

    def summed(self, parts: Tensor) -> Tensor:
        """Return the sum over samples, ``(heads, ...)``, of ``(batch * heads, ...)``."""
        return (
            parts
            if self.batch == 1
            else parts.view(self.batch, self.choices.heads, *parts.shape[1:]).sum(dim=0)
        )

    def by_head(self, rows: Tensor, *, is_shared: bool = False) -> Tensor:
        """Return what each head has of *rows*, ``(batch * heads, tokens, width)``: its share, or
        all if shared.
        """
        heads = self.choices.heads
        if is_shared:
            return (
                rows.view(self.batch, 1, -1, rows.shape[1]).expand(-1, heads, -1, -1).flatten(0, 1)
            )
        if self.batch == 1:
            return rows.view(-1, heads, rows.shape[1] // heads).transpose(0, 1)
        return (
            rows.view(self.batch, -1, heads, rows.shape[1] // heads).transpose(1, 2).flatten(0, 1)
        )

    def by_token(self, parts: Tensor, step: str) -> Tensor:
        """Return ``(batch * tokens, heads * width)`` from what each head has, ``(batch * heads,
        tokens, width)``.
        """
        heads, (_, tokens, width) = self.choices.heads, parts.shape
        rows = self.scratch.empty(step, torch.Size((self.batch, tokens, heads, width)))
        rows.copy_(parts.view(self.batch, heads, tokens, width).transpose(1, 2))
        return rows.view(-1, heads * width)

    def combine(
        self, step: str, weights: Tensor, of_slices: Tensor, *, is_shared: bool = False
    ) -> Tensor:
        """Return what tokens combine from slices, ``(batch * tokens, width)``, in any layout.

        Args:
            step: Its name.
            weights: ``(batch * heads, tokens, slices)``.
            of_slices: ``(batch * heads, slices, width of a head)``.
            is_shared: Whether the results of the heads are added up, instead of set side by side.
        """
        if is_shared:
            flat = self.by_token(weights, "weights by token").view(
                self.batch, -1, self.choices.heads * weights.shape[2]
            )
            summed = self.scratch.product(
                step, flat, of_slices.reshape(self.batch, -1, of_slices.shape[2])
            )
            return summed.flatten(0, 1)
        if self.batch > 1:
            return self.by_token(self.scratch.product("parts", weights, of_slices), step)
        # With tokens last, heads stand below each other, and nothing has to be copied.
        return (
            self.scratch.product(step, of_slices.transpose(1, 2), weights.transpose(1, 2))
            .flatten(0, 1)
            .t()
        )


def tiles_of(operands: Operands, choices: Choices) -> list[Tile]:
    """Return tiles of at most ``choices.chunk`` tokens, or of one sample, that together hold every
    token once.
    """
    batch, tokens, _ = operands.x.shape
    heads, chunk, scratch = choices.heads, choices.chunk, Scratch(operands.x)
    if tokens > chunk:
        size = math.ceil(
            tokens / math.ceil(tokens / chunk)
        )  # no tile is smaller than the others by much
        return [
            Tile(
                slice(sample * tokens + start, sample * tokens + min(start + size, tokens)),
                slice(sample * heads, (sample + 1) * heads),
                1,
                operands,
                choices,
                scratch,
            )
            for sample in range(batch)
            for start in range(0, tokens, size)
        ]
    together = max(1, chunk // max(1, tokens))
    stops = [
        (first, min(first + together, batch))
        for first in range(0, batch if tokens else 0, together)
    ]
    return [
        Tile(
            slice(first * tokens, stop * tokens),
            slice(first * heads, stop * heads),
            stop - first,
            operands,
            choices,
            scratch,
        )
        for first, stop in stops
    ]


def add_product_(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add ``left right`` to *total*, which may have more bits."""
    if total.dtype == left.dtype:
        total.addmm_(left, right) if total.dim() == 2 else total.baddbmm_(left, right)  # noqa: PLR2004
    else:
        total += left @ right
