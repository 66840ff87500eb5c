"""Attention through slices as an operator of torch, which compilers and exporters take whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from noether_core.errors import DerivativeError
from noether_core.nn.operators import define_operator, dtype_of_results
from noether_core.nn.slices.among import Sums
from noether_core.nn.slices.operands import Choices, Operands
from noether_core.nn.slices.passes import empty_sums, run_backward, run_forward

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPERANDS = (
    "Tensor x, Tensor logit_weight, Tensor? logit_bias, Tensor? state_weight, Tensor? feature_weight, "
    "Tensor? feature_bias, Tensor qkv_weight, Tensor? qkv_bias, Tensor out_weight, Tensor? out_bias, "
    "Tensor? temperature, Tensor? inner_weight, Tensor? inner_bias, Tensor? outer_weight, Tensor? outer_bias"
)
_CHOICES = (
    "Tensor? real, Tensor? noise_seed, Tensor? dropout_seed, float dropout, int heads, SymInt chunk, "
    "bool logits_from_tokens, bool is_folded, str positive"
)
_COUNT = len(Operands._fields)

_NO_SECOND_DERIVATIVE = (
    "slices: there is no second derivative where tokens are read chunk by chunk; build the module with "
    "backend='math', which has every derivative, at the memory of all slice weights"
)


def attend_through_slices(operands: Operands, choices: Choices) -> Tensor:
    """Return the output of attention through slices, ``(batch, tokens, D)``, in memory that does
    not grow with tokens.

    Exact: sums over tokens are taken chunk by chunk, and the weights of slices are made again
    wherever they are needed, forward and backward, noise and dropout included.

    Args:
        operands: The tensors; autocast casts them to its dtype.
        choices: The rest.

    Raises:
        DerivativeError: If a second derivative is asked for.
    """
    if torch.is_autocast_enabled(operands.x.device.type):
        dtype = dtype_of_results(operands.x)
        operands = Operands._make(None if each is None else each.to(dtype) for each in operands)
    y: Tensor = _attend(*operands, *choices)[0]
    return y


def _forward(*given: Any) -> tuple[Tensor, Tensor, Tensor]:
    operands, choices = Operands._make(given[:_COUNT]), Choices._make(given[_COUNT:])
    with torch.autocast(operands.x.device.type, enabled=False):
        y, sums = run_forward(operands, choices)
    return y, *sums


def _fake_forward(*given: Any) -> tuple[Tensor, Tensor, Tensor]:
    operands, choices = Operands._make(given[:_COUNT]), Choices._make(given[_COUNT:])
    return operands.x.new_empty(operands.x.shape), *empty_sums(operands, choices)


def _keep(ctx: Any, inputs: Sequence[Any], output: tuple[Tensor, Tensor, Tensor]) -> None:
    """Keep for the backward pass what the forward pass was given, and what the slices gathered."""
    _, *sums = output
    tensors = [each if isinstance(each, Tensor) else None for each in inputs]
    ctx.rest = [None if isinstance(each, Tensor) else each for each in inputs]
    ctx.save_for_backward(*sums, *tensors)
    ctx.mark_non_differentiable(*sums)


def _gradients(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    features, weights, *tensors = ctx.saved_tensors
    given = [
        rest if tensor is None else tensor for tensor, rest in zip(tensors, ctx.rest, strict=True)
    ]
    gradients = _attend_backward(gradient, features, weights, *given)
    found = (
        None if each is None else of_each
        for each, of_each in zip(given[:_COUNT], gradients, strict=True)
    )
    return *found, *(None for _ in given[_COUNT:])


def _backward(gradient: Tensor, features: Tensor, weights: Tensor, *given: Any) -> list[Tensor]:
    operands, choices = Operands._make(given[:_COUNT]), Choices._make(given[_COUNT:])
    with torch.autocast(operands.x.device.type, enabled=False):
        gradients = run_backward(gradient, Sums(features, weights), operands, choices)
    return [
        operands.x.new_empty(0) if total is None or operand is None else total.to(operand.dtype)
        for total, operand in zip(gradients, operands, strict=True)
    ]


def _fake_backward(
    gradient: Tensor, features: Tensor, weights: Tensor, *given: Any
) -> list[Tensor]:
    operands = Operands._make(given[:_COUNT])
    return [
        operands.x.new_empty(0) if each is None else each.new_empty(each.shape) for each in operands
    ]


def _refuse(*_: Any) -> NoReturn:
    raise DerivativeError(_NO_SECOND_DERIVATIVE)


_attend = define_operator(
    "noether::attend_through_slices",
    f"({_OPERANDS}, {_CHOICES}) -> (Tensor y, Tensor features, Tensor weights)",
    _forward,
    fake=_fake_forward,
    gradients=_gradients,
    keep=_keep,
)
_attend_backward = define_operator(
    "noether::attend_through_slices_backward",
    f"(Tensor gradient, Tensor features, Tensor weights, {_OPERANDS}, {_CHOICES}) -> Tensor[]",
    _backward,
    fake=_fake_backward,
    gradients=_refuse,
)
