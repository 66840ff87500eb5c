"""Reading chunk by chunk as an operation of torch, which compilers and exporters take as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from noether_core.errors import DerivativeError
from noether_core.nn.operators import define_operator, dtype_of_sums
from noether_plugins.attention.irregular_nat.chunks import gradients_by_chunks, read_by_chunks
from noether_plugins.attention.irregular_nat.tokens import Reading, RelposWeights, Tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

_NO_SECOND_DERIVATIVE = (
    "irregular_nat: there is no second derivative where tokens are read chunk by chunk; give fewer"
)

_INPUTS = (
    "Tensor queries, Tensor keys, Tensor values, Tensor positions, "
    "Tensor inner, Tensor outer, Tensor? inner_bias, Tensor? outer_bias, "
    "Tensor neighbours, Tensor walk, Tensor? seed, Tensor? relpos_seed, "
    "int num_heads, float dropout, float relpos_dropout"
)
"""What the operations are given: `Tokens`, `RelposWeights`, and the parts of `Reading`."""

_TENSORS, _DIFFERENTIATED = 12, 8


def read_in_chunks(tokens: Tokens, weights: RelposWeights, reading: Reading) -> Tensor:
    """Return what every token reads, ``(tokens, hidden_dim)``; pairs of tokens never have keys of
    their own.

    Raises:
        DerivativeError: If a second derivative is asked for.
    """
    seed, relpos_seed = reading.seeds
    read: Tensor
    read, _ = _read(
        *tokens,
        *weights,
        reading.neighbours,
        reading.walk,
        seed,
        relpos_seed,
        reading.num_heads,
        reading.dropout,
        reading.relpos_dropout,
    )
    return read


def _parts(given: Sequence[Any]) -> tuple[Tokens, RelposWeights, Reading]:
    """Return what an operation is given, put together."""
    neighbours, walk, seed, relpos_seed, num_heads, dropout, relpos_dropout = given[
        _DIFFERENTIATED:
    ]
    reading = Reading(neighbours, walk, num_heads, dropout, relpos_dropout, (seed, relpos_seed))
    return Tokens._make(given[:4]), RelposWeights._make(given[4:_DIFFERENTIATED]), reading


def _forward(*given: Any) -> tuple[Tensor, Tensor]:
    """Return what is read, and the weights it is read with."""
    with torch.autocast(given[0].device.type, enabled=False):
        return read_by_chunks(*_parts(given))


def _fake_forward(
    queries: Tensor, keys: Tensor, values: Tensor, *others: Any
) -> tuple[Tensor, Tensor]:
    neighbours, num_heads = others[5], others[9]
    shares = queries.new_empty((num_heads, *neighbours.shape), dtype=dtype_of_sums(queries.dtype))
    return values.new_empty(values.shape), shares


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    _, shares = output
    ctx.mark_non_differentiable(shares)
    ctx.save_for_backward(shares, *inputs[:_TENSORS])
    ctx.options = inputs[_TENSORS:]


def _gradients(ctx: Any, gradient: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return (None,) * (_TENSORS + len(ctx.options))
    gradients = iter(_read_backward(gradient, *ctx.saved_tensors, *ctx.options))
    differentiated = ctx.saved_tensors[1 : 1 + _DIFFERENTIATED]
    return *(None if tensor is None else next(gradients) for tensor in differentiated), *(
        (None,) * (_TENSORS - _DIFFERENTIATED + len(ctx.options))
    )


def _backward(gradient: Tensor, shares: Tensor, *given: Any) -> list[Tensor]:
    """Return the gradients of tokens and weights, of those that there are."""
    with torch.autocast(gradient.device.type, enabled=False):
        of_tokens, of_weights = gradients_by_chunks(gradient, shares, *_parts(given))
    pairs = zip((*of_tokens, *of_weights), given[:_DIFFERENTIATED], strict=True)
    return [
        total.to(tensor.dtype)
        for total, tensor in pairs
        if total is not None and tensor is not None
    ]


def _fake_backward(gradient: Tensor, shares: Tensor, *inputs: Any) -> list[Tensor]:  # noqa: ARG001
    return [
        tensor.new_empty(tensor.shape) for tensor in inputs[:_DIFFERENTIATED] if tensor is not None
    ]


def _refuse(*_: Any) -> NoReturn:
    raise DerivativeError(_NO_SECOND_DERIVATIVE)


_read = define_operator(
    "noether::read_neighbours",
    f"({_INPUTS}) -> (Tensor read, Tensor shares)",
    _forward,
    fake=_fake_forward,
    gradients=_gradients,
    keep=_keep,
)
_read_backward = define_operator(
    "noether::read_neighbours_backward",
    f"(Tensor gradient, Tensor shares, {_INPUTS}) -> Tensor[]",
    _backward,
    fake=_fake_backward,
    gradients=_refuse,
)
