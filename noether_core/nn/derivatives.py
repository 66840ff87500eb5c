"""Gradients of which there is no gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from noether_core.errors import DerivativeError

if TYPE_CHECKING:
    from collections.abc import Sequence


def refuse_derivatives(gradients: Sequence[Tensor | None], reason: str) -> tuple[Tensor | None, ...]:
    """Return *gradients* of a backward pass in such a form that to differentiate them raises, and does not give zero.

    Backward passes compute numbers under ``torch.no_grad()`` and, behind it, return them through this. The
    ``once_differentiable`` of torch takes them for constants where the gradient that came in is one.

    Args:
        gradients: What the backward pass returns; None where nothing is due.
        reason: What the error says.
    """
    if not torch.is_grad_enabled():  # nobody asked for a graph of the backward pass
        return tuple(gradients)
    return tuple(
        None if gradient is None else _Refusing.apply(gradient.requires_grad_(), reason)  # type: ignore[no-untyped-call]
        for gradient in gradients
    )


class _Refusing(torch.autograd.Function):
    """The identity, of which there is no derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, reason: str) -> Tensor:
        ctx.reason = reason
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> NoReturn:
        raise DerivativeError(ctx.reason)
