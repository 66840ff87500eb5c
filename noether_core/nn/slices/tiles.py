"""Tokens in tiles whose slice weights fit into the cache: products within a tile, sums over tiles.

What tokens have goes around with samples and tokens as one axis, ``(samples * tokens, width)``, and
what heads have with samples and heads as one, ``(samples * heads, ...)``. The former has the dtype
of tokens, the latter that of slice weights.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from noether_core.nn.operators import dtype_of_sums, dtype_of_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from noether_core.nn.slices.plan import Operands, Settings


class Scratch:
    """Memory for the steps of a tile, which the next tile writes over, so that it stays in cache.

    Tensors are kept by the name of a step; to take that of a step again overwrites it.
    """

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._tensors: dict[tuple[str, torch.Size], Tensor] = {}

    def empty(self, step: str, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Return the tensor of a step; tiles of two shapes have one each."""
        tensor = self._tensors.get((step, shape))
        if tensor is None:
            tensor = self._tensors[step, shape] = self._like.new_empty(shape, dtype=dtype)
        return tensor

    def product(self, step: str, left: Tensor, right: Tensor) -> Tensor:
        """Return ``left right``, of matrices or of stacks of them."""
        out = self.empty(step, torch.Size((*left.shape[:-1], right.shape[-1])), left.dtype)
        is_matrix = left.dim() == 2  # noqa: PLR2004
        return torch.mm(left, right, out=out) if is_matrix else torch.bmm(left, right, out=out)


class Tile(NamedTuple):
    """Some tokens of one sample, or all tokens of some samples, and what is computed of them."""

    rows: slice
    """Where its tokens stand among those of the batch."""

    heads: slice
    """Where the heads of its samples stand among those of the batch."""

    samples: int
    """Number of its samples."""

    tokens: Tensor
    """``(samples * tokens, D)``."""

    is_real: Tensor | None
    """``(samples * tokens, 1)`` booleans; None where all tokens are real."""

    operands: Operands
    settings: Settings
    scratch: Scratch

    def repeat(self, each_head: Tensor) -> Tensor:
        """Return ``(heads, ...)`` once for each sample, ``(samples * heads, ...)``."""
        if self.samples == 1:
            return each_head
        return each_head.repeat(self.samples, *(1,) * (each_head.dim() - 1))

    def sum_samples(self, parts: Tensor) -> Tensor:
        """Return the sum over samples, ``(heads, ...)``, of ``(samples * heads, ...)``."""
        if self.samples == 1:
            return parts
        by_sample = parts.view(self.samples, self.settings.num_heads, *parts.shape[1:])
        return by_sample.sum(dim=0)

    def by_head(self, rows: Tensor) -> Tensor:
        """Return the share that each head has of *rows*, ``(samples * heads, tokens, width)``."""
        rows, heads = self._as_weights(rows), self.settings.num_heads
        if self.samples == 1:  # a view, where several samples take a copy
            return rows.view(-1, heads, rows.shape[1] // heads).transpose(0, 1)
        by_sample = rows.view(self.samples, -1, heads, rows.shape[1] // heads)
        return by_sample.transpose(1, 2).flatten(0, 1)

    def for_every_head(self, rows: Tensor) -> Tensor:
        """Return *rows* whole for every head, ``(samples * heads, tokens, width)``."""
        by_sample = self._as_weights(rows).view(self.samples, 1, -1, rows.shape[1])
        return by_sample.expand(-1, self.settings.num_heads, -1, -1).flatten(0, 1)

    def _as_weights(self, rows: Tensor) -> Tensor:
        """Return numbers of tokens in the dtype of what heads have; booleans stay booleans."""
        return rows if rows.dtype == torch.bool else rows.to(dtype_of_weights(rows.dtype))

    def by_token(self, parts: Tensor, step: str) -> Tensor:
        """Return what the heads have side by side, ``(samples * tokens, heads * width)``."""
        heads, (_, tokens, width) = self.settings.num_heads, parts.shape
        shape = torch.Size((self.samples, tokens, heads, width))
        rows = self.scratch.empty(step, shape, parts.dtype)
        rows.copy_(parts.view(self.samples, heads, tokens, width).transpose(1, 2))
        return rows.view(-1, heads * width)

    def combine(
        self, step: str, weights: Tensor, slices: Tensor, *, sum_heads: bool = False
    ) -> Tensor:
        """Return what tokens combine from slices, ``(samples * tokens, width)``, in any layout.

        Args:
            step: Its name.
            weights: ``(samples * heads, tokens, slices)``.
            slices: ``(samples * heads, slices, width of a head)``.
            sum_heads: Whether the results of the heads are added up, instead of set side by side.
        """
        if sum_heads:
            # One product over heads and slices adds the heads up by itself.
            flat = self.by_token(weights, "weights by token")
            flat = flat.view(self.samples, -1, self.settings.num_heads * weights.shape[2])
            stacked = slices.reshape(self.samples, -1, slices.shape[2])
            return self.scratch.product(step, flat, stacked).flatten(0, 1)

        if self.samples > 1:
            return self.by_token(self.scratch.product("parts", weights, slices), step)

        # With tokens last, heads stand below each other, and nothing has to be copied.
        tokens_last = self.scratch.product(step, slices.transpose(1, 2), weights.transpose(1, 2))
        return tokens_last.flatten(0, 1).t()


def split_into_tiles(operands: Operands, settings: Settings) -> list[Tile]:
    """Return tiles of at most ``settings.tile_size`` tokens that together hold every token once."""
    batch, tokens, _ = operands.x.shape
    heads = settings.num_heads
    rows = operands.x.flatten(0, 1)
    mask = settings.key_padding_mask
    is_real = None if mask is None else mask.reshape(-1, 1)
    scratch = Scratch(operands.x)
    if dtype_of_weights(operands.x.dtype) != operands.x.dtype:
        operands = operands.to(operands.x.dtype)

    tiles = []
    for samples, part in _spans(batch, tokens, settings.tile_size):
        count = samples.stop - samples.start
        start = samples.start * tokens + part.start
        own = slice(start, start + (count - 1) * tokens + part.stop - part.start)
        tiles.append(
            Tile(
                rows=own,
                heads=slice(samples.start * heads, samples.stop * heads),
                samples=count,
                tokens=rows[own],
                is_real=None if is_real is None else is_real[own],
                operands=operands,
                settings=settings,
                scratch=scratch,
            )
        )
    return tiles


class _Span(NamedTuple):
    """A part of the tokens of one sample, or all tokens of several."""

    samples: slice
    tokens: slice


def _spans(batch: int, tokens: int, size: int) -> Iterator[_Span]:
    """Yield spans of at most *size* tokens, together all tokens of all samples."""
    if tokens == 0:
        return
    if tokens <= size:
        together = size // tokens
        for first in range(0, batch, together):
            yield _Span(slice(first, min(first + together, batch)), slice(0, tokens))
        return

    # No tile is smaller than the others by much.
    even = math.ceil(tokens / math.ceil(tokens / size))
    for sample in range(batch):
        for start in range(0, tokens, even):
            yield _Span(slice(sample, sample + 1), slice(start, min(start + even, tokens)))


def add_product_(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add ``left right`` to *total*, which may have more bits."""
    if total.dtype != left.dtype:
        total += left @ right
    elif total.dim() == 2:  # noqa: PLR2004
        total.addmm_(left, right)
    else:
        total.baddbmm_(left, right)


class GradientSum:
    """The gradient of one operand, added up in the bits of sums; of one that is None, nothing."""

    __slots__ = ("total",)

    def __init__(self, operand: Tensor | None) -> None:
        self.total: Tensor | None = None
        if operand is not None:
            dtype = dtype_of_sums(operand.dtype)
            self.total = operand.new_zeros(operand.shape, dtype=dtype)

    def add_(self, part: Tensor) -> None:
        """Add the gradient by way of some tokens."""
        if self.total is not None:
            self.total.add_(part)

    def add_product_(self, left: Tensor, right: Tensor) -> None:
        """Add ``left right``."""
        if self.total is not None:
            add_product_(self.total, left, right)


class OperandGradients(NamedTuple):
    """The gradients of the operands by which tokens are computed, by their names."""

    logit_weight: GradientSum
    logit_bias: GradientSum
    state_weight: GradientSum
    feature_weight: GradientSum
    folded_feature_weight: GradientSum
    feature_bias: GradientSum
    qkv_weight: GradientSum
    qkv_bias: GradientSum
    out_weight: GradientSum
    out_bias: GradientSum
    temperature: GradientSum
    inner_weight: GradientSum
    inner_bias: GradientSum
    outer_weight: GradientSum
    outer_bias: GradientSum
    context_keys: GradientSum
    context_values: GradientSum
    context_query_weight: GradientSum
    context_query_bias: GradientSum
    context_gate: GradientSum
    mixing_weight: GradientSum
    mixing_bias: GradientSum


def zero_gradients(operands: Operands) -> OperandGradients:
    """Return zeros for the gradients of all operands but the tokens."""
    _, *others = operands
    return OperandGradients(*[GradientSum(operand) for operand in others])
