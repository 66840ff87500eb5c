"""How chunks of tokens are taken and results put together where gradients are due, copying none.

Autograd's own ``split`` and ``cat`` hold every chunk, or its gradient, beside the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from noether_core.nn.operators import is_transformed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class CutTokens:
    """Tokens in views of some at a time, as often as they are walked through.

    The gradient of each view is added to that of all tokens as it comes, and freed. Views are made
    when they are needed: autograd gives the gradients of those made last first, and would keep
    those of views that were made before anything else.

    Args:
        x: ``(batch, tokens, width)``.
        count: How many tokens a view has; the last has what is left.
    """

    def __init__(self, x: Tensor, count: int) -> None:
        self._x, self._count = x, count
        self._is_recorded = torch.is_grad_enabled() and x.requires_grad
        if self._is_recorded:
            self._shared = _Gradient(x)
            self._key = _Open.apply(x, self._shared)  # type: ignore[no-untyped-call]  # torch's own

    def __iter__(self) -> Iterator[Tensor]:
        for start in range(0, self._x.shape[1], self._count):
            if self._is_recorded:
                given = (self._key, self._x.detach(), self._shared, self._count, start)
                yield _Taken.apply(*given)  # type: ignore[no-untyped-call]
            else:
                yield self._x[:, start : start + self._count]


def join_tokens(chunks: Iterable[Tensor], tokens: int) -> Tensor:
    """Return what *chunks* are one behind the other, each of which is freed before the next.

    Args:
        chunks: ``(batch, tokens of a chunk, width)`` each.
        tokens: How many there are together.
    """
    whole: Tensor | None = None
    places, start = [], 0
    for chunk in chunks:
        if whole is None:
            whole = chunk.new_empty((chunk.shape[0], tokens, *chunk.shape[2:]))
        places.append(_Put.apply(chunk, whole, start))  # type: ignore[no-untyped-call]
        start += chunk.shape[1]
        del chunk  # or it would live beside the next one
    joined: Tensor = _Joined.apply(whole, *places)  # type: ignore[no-untyped-call]
    return joined


class _Gradient:
    """The gradient of tokens, to which those of their chunks are added."""

    def __init__(self, x: Tensor) -> None:
        self._shape = x.shape
        self._total: Tensor | None = None

    def add(self, part: Tensor, start: int) -> None:
        """Add the gradient of the tokens from *start* on."""
        if torch.is_grad_enabled() or is_transformed():  # somebody differentiates, or batches, it
            behind = self._shape[1] - start - part.shape[1]
            padded = functional.pad(part, (0, 0, start, behind))
            self._total = padded if self._total is None else self._total + padded
            return
        if self._total is None:
            self._total = part.new_zeros(self._shape)
        self._total[:, start : start + part.shape[1]].add_(part)

    def take(self) -> Tensor | None:
        """Return the sum, and begin anew: a graph may be passed again."""
        total, self._total = self._total, None
        return total


class _Open(torch.autograd.Function):
    """Makes a number of which chunks are functions, so that they are behind *x* in the graph."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shared: _Gradient) -> Tensor:
        ctx.shared = shared
        return x.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, None]:
        return ctx.shared.take(), None


class _Taken(torch.autograd.Function):
    """A chunk of tokens, whose gradient goes to those of all."""

    @staticmethod
    def forward(  # noqa: PLR0917  torch calls it by position
        ctx: Any,
        key: Tensor,  # noqa: ARG004  it is there for the graph
        x: Tensor,
        shared: _Gradient,
        count: int,
        start: int,
    ) -> Tensor:
        ctx.start, ctx.shared = start, shared
        return x[:, start : start + count]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (part,) = gradients
        ctx.shared.add(part, ctx.start)
        return part.new_zeros(()), None, None, None, None


class _Put(torch.autograd.Function):
    """Copies a chunk to its place, and returns one number in its shape, which holds the graph."""

    @staticmethod
    def forward(ctx: Any, chunk: Tensor, whole: Tensor, start: int) -> Tensor:  # noqa: ARG004
        whole[:, start : start + chunk.shape[1]] = chunk
        return chunk.new_zeros(1).expand(chunk.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # noqa: ARG004
        (gradient,) = gradients
        return gradient, None, None


class _Joined(torch.autograd.Function):
    """The whole, as a function of the chunks that were copied into it."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, *places: Tensor) -> Tensor:
        ctx.mark_dirty(whole)
        ctx.counts = [place.shape[1] for place in places]
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        return None, *torch.split(gradient, ctx.counts, dim=1)
