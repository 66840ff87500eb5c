"""Gradients of which there is no gradient, and who may ask for more than operators of our own have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor
from torch.autograd import forward_ad

from noether_core.errors import DerivativeError

if TYPE_CHECKING:
    from collections.abc import Sequence


def is_transformed() -> bool:
    """Return whether `torch.func` or derivatives in forward mode look on.

    They do not see into operators of our own, or take them for constants; they get torch's
    operations alone.
    """
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0  # noqa: SLF001  nothing public tells it


def is_recorded(*tensors: Tensor) -> bool:
    """Return whether autograd records what is computed of *tensors*."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def refuse_derivatives(
    gradients: Sequence[Tensor | None], reason: str, *, of: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """Return *gradients* of a backward pass in such a form that to differentiate them raises, and
    does not give zero.

    Backward passes compute numbers under ``torch.no_grad()`` and, behind it, return them through
    this. The ``once_differentiable`` of torch takes them for constants where the gradient that came
    in is one.

    Args:
        gradients: What the backward pass returns; None where nothing is due.
        reason: What the error says.
        of: What they were computed from: the gradient that came in, and the tensors that were saved
            for it.
    """
    sources = [tensor for tensor in of if tensor is not None and tensor.requires_grad]
    if not torch.is_grad_enabled() or not sources:  # nobody asked for a graph of the backward pass
        return tuple(gradients)
    return tuple(
        None if gradient is None else _Refusing.apply(gradient, reason, *sources)  # type: ignore[no-untyped-call]
        for gradient in gradients
    )


class _Refusing(torch.autograd.Function):
    """The identity, of which there is no derivative: neither by itself nor by what it came from."""

    @staticmethod
    def forward(x: Tensor, reason: str, *_: Tensor) -> Tensor:  # noqa: ARG004  the error is told backward
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004  torch passes both
        """Keep what the error says."""
        ctx.reason = inputs[1]

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> NoReturn:
        raise DerivativeError(ctx.reason)
