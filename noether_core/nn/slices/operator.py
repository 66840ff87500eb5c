"""Attention through slices tile by tile, as an operator that compilers and exporters take whole.

Two passes over tokens forward and two backward; nothing of the size of tokens times slices outlives
a tile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from noether_core.errors import DerivativeError
from noether_core.nn.operators import (
    define_operator,
    dtype_of_results,
    dtype_of_weights,
    is_autocast,
    without_autocast,
)
from noether_core.nn.slices.decomposition import run_at_once
from noether_core.nn.slices.flops import backward_flops, forward_flops
from noether_core.nn.slices.plan import Operands, Settings
from noether_core.nn.slices.steps import (
    ForwardResult,
    SliceSums,
    empty_sums,
    kept_sources,
    make_features,
    make_sources,
    mix_slices,
    mix_slices_backward_,
    sources_backward_,
    token_weights_backward_,
    weigh_tokens,
)
from noether_core.nn.slices.tiles import (
    OperandGradients,
    add_product_,
    split_into_tiles,
    zero_gradients,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from noether_core.nn.slices.steps import MixedSlices, SliceSumGradients
    from noether_core.nn.slices.tiles import Tile


def attend_through_slices(operands: Operands, settings: Settings) -> Tensor:
    """Return the output of attention through slices, ``(batch, tokens, D)``.

    Memory does not grow with tokens. It is exact: sums over tokens are taken tile by tile, and the
    weights of slices are made again wherever they are needed, forward and backward, noise and
    dropout included.

    Args:
        operands: The tensors; autocast casts them to its dtype.
        settings: The rest.

    Raises:
        DerivativeError: If a second derivative is wanted.
    """
    if is_autocast(operands.x.device):
        dtype, temperature = dtype_of_results(operands.x), operands.temperature
        operands = operands.to(dtype)
        if settings.temperature_activation == "exp":  # autocast leaves its exponents wide
            operands = operands._replace(temperature=temperature)
    y: Tensor = _attend(*operands, *settings)[0]
    return y


def run_forward(operands: Operands, settings: Settings) -> ForwardResult:
    """Gather tokens into slices, let slices attend to each other, and let tokens read them.

    States of the first pass are kept in the rows of the output, where the second finds them before
    it overwrites them.
    """
    tiles = split_into_tiles(operands, settings)
    y = operands.x.new_empty(operands.x.shape)
    rows = y.flatten(0, 1)

    sums = empty_sums(operands, settings)
    _gather_(sums, tiles, states_out=rows)
    # Nothing but the outputs is kept, so that the other steps are freed before the second pass.
    outputs = mix_slices(sums, operands, settings).outputs
    _read(outputs, tiles, states_and_output=rows)
    return ForwardResult(y, sums)


class BackwardResult(NamedTuple):
    """What the backward passes return."""

    grad_x: Tensor
    """``(batch, tokens, D)``."""

    grads: OperandGradients


def run_backward(
    gradient: Tensor, sums: SliceSums, operands: Operands, settings: Settings
) -> BackwardResult:
    """Return the gradients of the operands, from that of the output, ``(batch, tokens, D)``.

    The first pass finds the gradients of what tokens read; they go back through the attention among
    slices; the second pass brings them to the tokens. Both make the weights of slices again.
    """
    tiles = split_into_tiles(operands, settings)
    mixed = mix_slices(sums, operands, settings)
    grads = zero_gradients(operands)
    grad_x = operands.x.new_empty(operands.x.shape)
    rows, gradient = grad_x.flatten(0, 1), gradient.flatten(0, 1)

    grad_outputs = _read_backward_(grads, gradient, mixed, tiles, states_out=rows)
    grad_sums = mix_slices_backward_(grads, grad_outputs, mixed, sums, operands, settings)
    _tokens_backward_(grads, gradient, grad_sums, mixed, tiles, states_and_grad_x=rows)
    return BackwardResult(grad_x, grads)


def _gather_(sums: SliceSums, tiles: Sequence[Tile], *, states_out: Tensor) -> None:
    """Add to *sums* what all tiles give, and keep their states."""
    # Views: what is added to them is added to the sums.
    features, counts = sums.features.flatten(0, 1), sums.weights.flatten(0, 1)
    for tile in tiles:
        sources = make_sources(tile, states_out=states_out[tile.rows])
        weights = weigh_tokens(sources, tile).weights
        add_product_(features[tile.heads], weights.transpose(1, 2), make_features(sources, tile))
        counts[tile.heads].add_(weights.sum(dim=1))


def _read(outputs: Tensor, tiles: Sequence[Tile], *, states_and_output: Tensor) -> None:
    """Write what tokens get of the slices over the states that the first pass kept."""
    rows = states_and_output
    outputs = outputs.to(dtype_of_weights(rows.dtype)).flatten(0, 1)
    for tile in reversed(tiles):  # the rows of the last ones are still in the cache
        own = rows[tile.rows]
        weights = weigh_tokens(kept_sources(tile, states=own), tile).weights
        is_folded = tile.operands.is_folded
        read = tile.combine("read", weights, outputs[tile.heads], sum_heads=is_folded)
        _project(read.to(own.dtype), tile.operands, out=own)


def _read_backward_(
    grads: OperandGradients,
    gradient: Tensor,
    mixed: MixedSlices,
    tiles: Sequence[Tile],
    *,
    states_out: Tensor,
) -> Tensor:
    """Return the gradient of what tokens get of the slices, and keep the states of all tiles."""
    grad_outputs = torch.zeros_like(mixed.outputs)
    total = grad_outputs.flatten(0, 1)
    attended = mixed.attended.to(dtype_of_weights(gradient.dtype)).flatten(0, 1)
    for tile in tiles:
        own = gradient[tile.rows]
        sources = make_sources(tile, states_out=states_out[tile.rows])
        weights = weigh_tokens(sources, tile).weights
        add_product_(total[tile.heads], weights.transpose(1, 2), _grad_read(own, tile))

        if tile.operands.out_bias is not None:
            grads.out_bias.add_(own.sum(dim=0))
        if not tile.operands.is_folded:
            read = tile.combine("read", weights, attended[tile.heads])
            grads.out_weight.add_product_(own.t(), read.to(own.dtype))
    return grad_outputs


def _tokens_backward_(
    grads: OperandGradients,
    gradient: Tensor,
    grad_sums: SliceSumGradients,
    mixed: MixedSlices,
    tiles: Sequence[Tile],
    *,
    states_and_grad_x: Tensor,
) -> None:
    """Write the gradients of tokens over the states that the first pass kept.

    They come by what a token reads and by what it adds to the sums.
    """
    rows = states_and_grad_x
    dtype = dtype_of_weights(rows.dtype)
    outputs = mixed.outputs.to(dtype).flatten(0, 1).transpose(1, 2)
    grad_features = grad_sums.grad_features.to(dtype).flatten(0, 1)
    grad_counts = grad_sums.grad_weights.to(dtype).flatten(0, 1).unsqueeze(1)
    for tile in reversed(tiles):  # likewise
        own, heads = rows[tile.rows], tile.heads
        sources = kept_sources(tile, states=own)
        made = weigh_tokens(sources, tile)

        # dw_ng = dy_n o_g + f_n dF_g + dN_g, with dF and dN the gradients of the sums.
        grad_weights = torch.baddbmm(
            grad_counts[heads],
            _grad_read(gradient[tile.rows], tile),
            outputs[heads],
            out=tile.scratch.empty("grad weights", made.weights.shape, dtype),
        )
        features = make_features(sources, tile)
        grad_weights.baddbmm_(features, grad_features[heads].transpose(1, 2))
        grad_sources = token_weights_backward_(grads, grad_weights, made, sources, tile)

        is_folded = tile.operands.is_folded
        gathered = tile.combine(
            "grad gathered", made.weights, grad_features[heads], sum_heads=is_folded
        )
        sources_backward_(grads, own, gathered, grad_sources, sources, tile)


def _project(read: Tensor, operands: Operands, *, out: Tensor) -> None:
    """Write what rows *read* as output; with folded weights, the slices projected it."""
    weight, bias = operands.out_weight, operands.out_bias
    if operands.is_folded:
        out.copy_(read) if bias is None else torch.add(read, bias, out=out)
    elif bias is None:
        torch.mm(read, weight.t(), out=out)
    else:
        torch.addmm(bias, read, weight.t(), out=out)


def _grad_read(rows: Tensor, tile: Tile) -> Tensor:
    """Return the gradient of what each head reads, from the *rows* of that of the output.

    It is ``(samples * heads, tokens, width)``.
    """
    if tile.operands.is_folded:
        return tile.for_every_head(rows)
    return tile.by_head(tile.scratch.product("grad read", rows, tile.operands.out_weight))


_OPERANDS = (
    "Tensor x, Tensor logit_weight, Tensor? logit_bias, Tensor? state_weight, "
    "Tensor? feature_weight, Tensor? folded_feature_weight, Tensor? feature_bias, "
    "Tensor qkv_weight, Tensor? qkv_bias, Tensor out_weight, Tensor? out_bias, "
    "Tensor? temperature, Tensor? inner_weight, Tensor? inner_bias, Tensor? outer_weight, "
    "Tensor? outer_bias"
)
_SETTINGS = (
    "Tensor? key_padding_mask, Tensor? noise_seed, Tensor? dropout_seed, float dropout, "
    "int num_heads, SymInt tile_size, bool logits_from_tokens, str temperature_activation"
)
_COUNT = len(Operands._fields)

_NO_SECOND_DERIVATIVE = (
    "slices: there is no second derivative where tokens are computed chunk by chunk; build the "
    "module with backend='math', which has every derivative, at the memory of all slice weights"
)


def _structured(given: Sequence[Any]) -> tuple[Operands, Settings]:
    """Return the flat arguments of the operator by their names."""
    return Operands._make(given[:_COUNT]), Settings._make(given[_COUNT:])


def _forward(*given: Any) -> tuple[Tensor, Tensor, Tensor]:
    operands, settings = _structured(given)
    with without_autocast(operands.x.device):
        y, sums = run_forward(operands, settings)
    return y, sums.features, sums.weights


def _decompose(*given: Any) -> tuple[Tensor, Tensor, Tensor]:
    y, sums = run_at_once(*_structured(given))
    return y, sums.features, sums.weights


def _fake_forward(*given: Any) -> tuple[Tensor, Tensor, Tensor]:
    operands, settings = _structured(given)
    sums = empty_sums(operands, settings)
    return operands.x.new_empty(operands.x.shape), sums.features, sums.weights


def _keep(ctx: Any, inputs: Sequence[Any], output: tuple[Tensor, Tensor, Tensor]) -> None:
    """Keep what the forward pass was given and what the slices gathered, for the backward pass."""
    _, features, weights = output
    # Tensors go through torch, which sees when one is changed in place before it is used again.
    tensors = [each if isinstance(each, Tensor) else None for each in inputs]
    ctx.rest = [None if isinstance(each, Tensor) else each for each in inputs]
    ctx.save_for_backward(features, weights, *tensors)
    ctx.mark_non_differentiable(features, weights)


def _gradients(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    features, weights, *tensors = ctx.saved_tensors
    given = [
        rest if tensor is None else tensor for tensor, rest in zip(tensors, ctx.rest, strict=True)
    ]
    grads = _attend_backward(gradient, features, weights, *given)
    grad_operands = [
        None if operand is None else grad
        for operand, grad in zip(given[:_COUNT], grads, strict=True)
    ]
    return *grad_operands, *(None for _ in given[_COUNT:])


def _backward(gradient: Tensor, features: Tensor, weights: Tensor, *given: Any) -> list[Tensor]:
    operands, settings = _structured(given)
    with without_autocast(operands.x.device):
        grad_x, grads = run_backward(gradient, SliceSums(features, weights), operands, settings)

    grad_operands = []
    for operand, total in zip(operands, [grad_x, *(grad.total for grad in grads)], strict=True):
        if operand is None or total is None:
            grad_operands.append(_absent(operands))
        else:
            grad_operands.append(total.to(operand.dtype))
    return grad_operands


def _absent(operands: Operands) -> Tensor:
    """Return an empty tensor for an operand that is not there: operators return no None."""
    return operands.x.new_empty(0)


def _fake_backward(
    gradient: Tensor,  # noqa: ARG001  shapes follow from the operands alone
    features: Tensor,  # noqa: ARG001
    weights: Tensor,  # noqa: ARG001
    *given: Any,
) -> list[Tensor]:
    operands, _ = _structured(given)
    return [_absent(operands) if each is None else each.new_empty(each.shape) for each in operands]


def _refuse(*_: Any) -> NoReturn:
    raise DerivativeError(_NO_SECOND_DERIVATIVE)


_attend = define_operator(
    "noether::attend_through_slices",
    f"({_OPERANDS}, {_SETTINGS}) -> (Tensor y, Tensor features, Tensor weights)",
    _forward,
    fake=_fake_forward,
    gradients=_gradients,
    keep=_keep,
    decomposition=_decompose,
    flops=forward_flops,
)
_attend_backward = define_operator(
    "noether::attend_through_slices_backward",
    f"(Tensor gradient, Tensor features, Tensor weights, {_OPERANDS}, {_SETTINGS}) -> Tensor[]",
    _backward,
    fake=_fake_backward,
    gradients=_refuse,
    flops=backward_flops,
)
