"""Reading chunk by chunk as an operation of torch, which compilers and exporters take as it is."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor

from noether_core import DerivativeError
from noether_plugins.attention.irregular_nat.chunks import gradients_by_chunks, read_by_chunks
from noether_plugins.attention.irregular_nat.tokens import Reading, RelposWeights, Tokens, wide

_NO_SECOND_DERIVATIVE = "irregular_nat: there is no second derivative where tokens are read chunk by chunk; give fewer"


def read_in_chunks(tokens: Tokens, weights: RelposWeights, reading: Reading) -> Tensor:
    """Return what every token reads, ``(tokens, hidden_dim)``; pairs of tokens never have keys of their own.

    Raises:
        DerivativeError: If a second derivative is asked for.
    """
    seed, relpos_seed = reading.seeds
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
    return read  # type: ignore[no-any-return]


@torch.library.custom_op("noether::read_neighbours", mutates_args=())
def _read(  # noqa: PLR0917  operations take their tensors one by one
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    positions: Tensor,
    inner: Tensor,
    outer: Tensor,
    inner_bias: Tensor | None,
    outer_bias: Tensor | None,
    neighbours: Tensor,
    walk: Tensor,
    seed: Tensor | None,
    relpos_seed: Tensor | None,
    num_heads: int,
    dropout: float,
    relpos_dropout: float,
) -> tuple[Tensor, Tensor]:
    """Return what is read, and the weights it is read with."""
    tokens = Tokens(queries, keys, values, positions)
    weights = RelposWeights(inner, outer, inner_bias, outer_bias)
    reading = Reading(neighbours, walk, num_heads, dropout, relpos_dropout, (seed, relpos_seed))
    with torch.autocast(queries.device.type, enabled=False):
        return read_by_chunks(tokens, weights, reading)


@_read.register_fake
def _(queries: Tensor, keys: Tensor, values: Tensor, *others: Any) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    neighbours, num_heads = others[5], others[9]
    shares = queries.new_empty((num_heads, *neighbours.shape), dtype=wide(queries.dtype))
    return values.new_empty(values.shape), shares


@torch.library.custom_op("noether::read_neighbours_backward", mutates_args=())
def _read_backward(  # noqa: PLR0917  likewise
    gradient: Tensor,
    shares: Tensor,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    positions: Tensor,
    inner: Tensor,
    outer: Tensor,
    inner_bias: Tensor | None,
    outer_bias: Tensor | None,
    neighbours: Tensor,
    walk: Tensor,
    seed: Tensor | None,
    relpos_seed: Tensor | None,
    num_heads: int,
    dropout: float,
    relpos_dropout: float,
) -> list[Tensor]:
    """Return the gradients of tokens and weights, of those that there are."""
    tokens = Tokens(queries, keys, values, positions)
    weights = RelposWeights(inner, outer, inner_bias, outer_bias)
    reading = Reading(neighbours, walk, num_heads, dropout, relpos_dropout, (seed, relpos_seed))
    with torch.autocast(queries.device.type, enabled=False):
        of_tokens, of_weights = gradients_by_chunks(gradient, shares, tokens, weights, reading)
    pairs = zip((*of_tokens, *of_weights), (*tokens, *weights), strict=True)
    return [total.to(tensor.dtype) for total, tensor in pairs if total is not None and tensor is not None]


@_read_backward.register_fake
def _(gradient: Tensor, shares: Tensor, *inputs: Any) -> list[Tensor]:  # noqa: ARG001
    return [tensor.new_empty(tensor.shape) for tensor in inputs[:8] if tensor is not None]


def _set_up(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    _, shares = output
    ctx.mark_non_differentiable(shares)
    ctx.save_for_backward(shares, *inputs[:12])
    ctx.options = inputs[12:]


def _gradients(ctx: Any, gradient: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return (None,) * 15
    gradients = iter(_read_backward(gradient, *ctx.saved_tensors, *ctx.options))
    differentiated = ctx.saved_tensors[1:9]
    return *(None if tensor is None else next(gradients) for tensor in differentiated), *((None,) * 7)


def _refuse(ctx: Any, *_: Any) -> NoReturn:  # noqa: ARG001
    raise DerivativeError(_NO_SECOND_DERIVATIVE)


_read.register_autograd(_gradients, setup_context=_set_up)
_read_backward.register_autograd(_refuse)
