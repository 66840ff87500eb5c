"""Attention through slices tile by tile, as operators that compilers and exporters take whole.

One operator attends: two passes over tokens forward and two backward. Two more are its halves, one
pass each way: tokens gather into slices, and tokens read slices. Nothing of the size of tokens
times slices outlives a tile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from noether_core.errors import DerivativeError
from noether_core.nn.operators import (
    define_operator,
    dtype_of_results,
    dtype_of_sums,
    dtype_of_weights,
    is_autocast,
    without_autocast,
)
from noether_core.nn.slices.decomposition import run_at_once
from noether_core.nn.slices.flops import (
    backward_flops,
    forward_flops,
    gather_backward_flops,
    gather_flops,
    read_backward_flops,
    read_flops,
)
from noether_core.nn.slices.plan import Operands, Settings
from noether_core.nn.slices.steps import (
    ForwardResult,
    SliceSumGradients,
    SliceSums,
    empty_sums,
    kept_sources,
    make_features,
    make_sources,
    mix_slices,
    mix_slices_backward_,
    outputs_of,
    sources_backward_,
    summed_features,
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
    from collections.abc import Iterable, Sequence

    from noether_core.nn.slices.steps import Sources, TokenWeights
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
    y: Tensor = _attend(*_as_computed(operands, settings), *settings)[0]
    return y


def gather_into_slices(operands: Operands, settings: Settings) -> SliceSums:
    """Return what tokens give to slices: the first half of `attend_through_slices`.

    Args:
        operands: As there; what slices do behind it has no gradient by way of the sums.
        settings: As there.

    Returns:
        The sums of features, ``(batch, heads, slices, head_dim)``, whatever is folded, and those of
        weights, in the dtype of sums.
    """
    operands = _as_computed(operands, settings)
    unused = ("qkv_weight", "qkv_bias", "out_weight", "out_bias")
    used = _without_gradients(operands, (*unused, "feature_bias", "folded_feature_weight"))
    features, weights = _gather(*used, *settings)
    with without_autocast(operands.x.device):
        sums = SliceSums(features, weights)
        return sums._replace(features=summed_features(sums, operands, settings))


def read_from_slices(mixed: Tensor, operands: Operands, settings: Settings) -> Tensor:
    """Return the output of tokens that read slices: the second half of `attend_through_slices`.

    Args:
        mixed: ``(batch, heads, slices, head_dim)``, what slices got of each other.
        operands: As there; what slices gather has no gradient by way of the output.
        settings: As there.

    Returns:
        ``(batch, tokens, D)``.
    """
    operands = _as_computed(operands, settings)
    with without_autocast(operands.x.device):
        outputs = outputs_of(mixed.to(dtype_of_sums(operands.x.dtype)), operands, settings)
    unused = ["qkv_weight", "qkv_bias", "feature_weight", "folded_feature_weight", "feature_bias"]
    if operands.is_folded:  # it made the outputs
        unused.append("out_weight")
    y: Tensor = _read_out(outputs, *_without_gradients(operands, unused), *settings)
    return y


def _as_computed(operands: Operands, settings: Settings) -> Operands:
    """Return operands in the dtype of autocast, where it acts."""
    if not is_autocast(operands.x.device):
        return operands
    dtype, temperature = dtype_of_results(operands.x), operands.temperature
    operands = operands.to(dtype)
    if settings.temperature_activation == "exp":  # autocast leaves its exponents wide
        operands = operands._replace(temperature=temperature)
    return operands


def _without_gradients(operands: Operands, names: Iterable[str]) -> Operands:
    """Return operands of which those of some names get no gradient."""
    constants: dict[str, Any] = {}
    for name in names:
        operand = getattr(operands, name)
        constants[name] = None if operand is None else operand.detach()
    return operands._replace(**constants)


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

    grad_outputs = torch.zeros_like(mixed.outputs)
    for tile in tiles:
        sources = make_sources(tile, states_out=rows[tile.rows])
        weights = weigh_tokens(sources, tile).weights
        _outputs_backward_(grads, grad_outputs, gradient, mixed.attended, weights, tile)

    grad_sums = mix_slices_backward_(grads, grad_outputs, mixed, sums, operands, settings)
    for tile in reversed(tiles):  # the rows of the last ones are still in the cache
        own = rows[tile.rows]
        sources = kept_sources(tile, states=own)
        made = weigh_tokens(sources, tile)
        read = _Read(mixed.outputs, _grad_read(gradient[tile.rows], tile))
        _tokens_backward_(grads, made, sources, tile, grad_rows=own, read=read, sums=grad_sums)
    return BackwardResult(grad_x, grads)


def run_gather(operands: Operands, settings: Settings) -> SliceSums:
    """Gather tokens into slices."""
    sums = empty_sums(operands, settings)
    _gather_(sums, split_into_tiles(operands, settings), states_out=None)
    return sums


def run_gather_backward(
    grad_sums: SliceSumGradients, operands: Operands, settings: Settings
) -> BackwardResult:
    """Return the gradients of the operands, from those of what slices gathered."""
    grads = zero_gradients(operands)
    grad_x = operands.x.new_empty(operands.x.shape)
    rows = grad_x.flatten(0, 1)
    for tile in split_into_tiles(operands, settings):
        own = rows[tile.rows]
        sources = make_sources(tile, states_out=own)
        made = weigh_tokens(sources, tile)
        _tokens_backward_(grads, made, sources, tile, grad_rows=own, sums=grad_sums)
    return BackwardResult(grad_x, grads)


def run_read(outputs: Tensor, operands: Operands, settings: Settings) -> Tensor:
    """Let tokens read slices."""
    y = operands.x.new_empty(operands.x.shape)
    rows = y.flatten(0, 1)
    outputs = outputs.to(dtype_of_weights(rows.dtype)).flatten(0, 1)
    for tile in split_into_tiles(operands, settings):
        own = rows[tile.rows]
        _read_tile(outputs, make_sources(tile, states_out=own), tile, out=own)
    return y


class ReadBackwardResult(NamedTuple):
    """What the backward pass of reading returns."""

    grad_outputs: Tensor
    """That of what a token gets of each slice."""

    grad_x: Tensor
    """``(batch, tokens, D)``."""

    grads: OperandGradients


def run_read_backward(
    gradient: Tensor, outputs: Tensor, operands: Operands, settings: Settings
) -> ReadBackwardResult:
    """Return the gradients of slices and operands, from that of the output."""
    grads = zero_gradients(operands)
    grad_x = operands.x.new_empty(operands.x.shape)
    rows = grad_x.flatten(0, 1)
    gradient = gradient.flatten(0, 1)
    grad_outputs = torch.zeros_like(outputs)
    for tile in split_into_tiles(operands, settings):
        own = rows[tile.rows]
        sources = make_sources(tile, states_out=own)
        made = weigh_tokens(sources, tile)
        grad_read = _outputs_backward_(grads, grad_outputs, gradient, outputs, made.weights, tile)
        read = _Read(outputs, grad_read)
        _tokens_backward_(grads, made, sources, tile, grad_rows=own, read=read)
    return ReadBackwardResult(grad_outputs, grad_x, grads)


def _gather_(sums: SliceSums, tiles: Sequence[Tile], *, states_out: Tensor | None) -> None:
    """Add to *sums* what all tiles give, and keep their states where there is a place for them."""
    # Views: what is added to them is added to the sums.
    features, counts = sums.features.flatten(0, 1), sums.weights.flatten(0, 1)
    for tile in tiles:
        if states_out is None:
            states = tile.scratch.empty("states", tile.tokens.shape, tile.tokens.dtype)
        else:
            states = states_out[tile.rows]
        sources = make_sources(tile, states_out=states)
        weights = weigh_tokens(sources, tile).weights
        add_product_(features[tile.heads], weights.transpose(1, 2), make_features(sources, tile))
        counts[tile.heads].add_(weights.sum(dim=1))


def _read(outputs: Tensor, tiles: Sequence[Tile], *, states_and_output: Tensor) -> None:
    """Write what tokens get of the slices over the states that the first pass kept."""
    rows = states_and_output
    outputs = outputs.to(dtype_of_weights(rows.dtype)).flatten(0, 1)
    for tile in reversed(tiles):  # the rows of the last ones are still in the cache
        own = rows[tile.rows]
        _read_tile(outputs, kept_sources(tile, states=own), tile, out=own)


def _read_tile(outputs: Tensor, sources: Sources, tile: Tile, *, out: Tensor) -> None:
    """Write what the tokens of a tile get of the slices, ``(samples * tokens, D)``."""
    weights = weigh_tokens(sources, tile).weights
    is_folded = tile.operands.is_folded
    read = tile.combine("read", weights, outputs[tile.heads], sum_heads=is_folded)
    _project(read.to(out.dtype), tile.operands, out=out)


def _outputs_backward_(  # noqa: PLR0917  all of them are tensors of one pass
    grads: OperandGradients,
    grad_outputs: Tensor,
    gradient: Tensor,
    attended: Tensor,
    weights: Tensor,
    tile: Tile,
) -> Tensor:
    """Add to the gradients of slices and of the output layer; return that of what heads read.

    Args:
        grads: Gradients of the operands.
        grad_outputs: That of what tokens get of each slice.
        gradient: That of the output, ``(batch * tokens, D)``.
        attended: What tokens get of each slice, before folded weights.
        weights: Those of the tokens of the tile.
        tile: The tile.
    """
    own = gradient[tile.rows]
    grad_read = _grad_read(own, tile)
    total = grad_outputs.flatten(0, 1)
    add_product_(total[tile.heads], weights.transpose(1, 2), grad_read)

    if tile.operands.out_bias is not None:
        grads.out_bias.add_(own.sum(dim=0))
    if not tile.operands.is_folded:
        slices = attended.flatten(0, 1)[tile.heads].to(weights.dtype)
        grads.out_weight.add_product_(own.t(), tile.combine("read", weights, slices).to(own.dtype))
    return grad_read


class _Read(NamedTuple):
    """What the gradients of the tokens of a tile by way of reading start from."""

    outputs: Tensor
    """What a token gets of each slice, ``(batch, heads, slices, ...)``."""

    grad_read: Tensor
    """The gradient of what heads read, ``(samples * heads, tokens, ...)``."""


def _tokens_backward_(
    grads: OperandGradients,
    made: TokenWeights,
    sources: Sources,
    tile: Tile,
    *,
    grad_rows: Tensor,
    read: _Read | None = None,
    sums: SliceSumGradients | None = None,
) -> None:
    """Write the gradients of the tokens of a tile over their states, which are in the same rows.

    They come by what a token reads, and by what it adds to the sums: ``dw_ng = dy_n o_g + f_n dF_g
    + dN_g``, with ``dF`` and ``dN`` the gradients of the sums.
    """
    heads, dtype = tile.heads, made.weights.dtype
    grad_weights = tile.scratch.empty("grad weights", made.weights.shape, dtype)
    if sums is None:
        grad_weights.zero_()
    else:
        grad_weights.copy_(sums.grad_weights.flatten(0, 1)[heads].unsqueeze(1))
    if read is not None:
        outputs = read.outputs.flatten(0, 1)[heads].to(dtype)
        grad_weights.baddbmm_(read.grad_read, outputs.transpose(1, 2))

    grad_features = None
    if sums is not None:
        grad_features = sums.grad_features.flatten(0, 1)[heads].to(dtype)
        grad_weights.baddbmm_(make_features(sources, tile), grad_features.transpose(1, 2))
    grad_sources = token_weights_backward_(grads, grad_weights, made, sources, tile)

    gathered = None
    if grad_features is not None:
        is_folded = tile.operands.is_folded
        gathered = tile.combine("grad gathered", made.weights, grad_features, sum_heads=is_folded)
    sources_backward_(grads, grad_rows, gathered, grad_sources, sources, tile)


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
    "Tensor? outer_bias, Tensor? context_keys, Tensor? context_values, "
    "Tensor? context_query_weight, Tensor? context_query_bias, Tensor? context_gate, "
    "Tensor? mixing_weight, Tensor? mixing_bias"
)
_SETTINGS = (
    "Tensor? key_padding_mask, Tensor? noise_seed, Tensor? dropout_seed, float dropout, "
    "int num_heads, SymInt tile_size, bool logits_from_tokens, str temperature_activation, "
    "SymInt first_token, float eps"
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
    _save(ctx, [features, weights, *inputs])
    ctx.mark_non_differentiable(features, weights)


def _save(ctx: Any, given: Sequence[Any]) -> None:
    # Tensors go through torch, which sees when one is changed in place before it is used again.
    ctx.rest = [None if isinstance(each, Tensor) else each for each in given]
    ctx.save_for_backward(*(each if isinstance(each, Tensor) else None for each in given))


def _saved(ctx: Any) -> list[Any]:
    return [
        rest if tensor is None else tensor
        for tensor, rest in zip(ctx.saved_tensors, ctx.rest, strict=True)
    ]


def _gradients(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    features, weights, *given = _saved(ctx)
    return _due(_attend_backward(gradient, features, weights, *given), given)


def _due(grads: Sequence[Tensor], given: Sequence[Any]) -> tuple[Tensor | None, ...]:
    """Return gradients of what an operator was given, from those of its operands."""
    grad_operands = [
        None if operand is None else grad
        for operand, grad in zip(given[:_COUNT], grads, strict=True)
    ]
    return *grad_operands, *(None for _ in given[_COUNT:])


def _backward(gradient: Tensor, features: Tensor, weights: Tensor, *given: Any) -> list[Tensor]:
    operands, settings = _structured(given)
    with without_autocast(operands.x.device):
        result = run_backward(gradient, SliceSums(features, weights), operands, settings)
    return _of_operands(result.grad_x, result.grads, operands)


def _of_operands(grad_x: Tensor, grads: OperandGradients, operands: Operands) -> list[Tensor]:
    """Return the gradients of operands in their dtypes."""
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
    return _fake_of_operands(_structured(given)[0])


def _fake_of_operands(operands: Operands) -> list[Tensor]:
    return [_absent(operands) if each is None else each.new_empty(each.shape) for each in operands]


def _gather_forward(*given: Any) -> tuple[Tensor, Tensor]:
    operands, settings = _structured(given)
    with without_autocast(operands.x.device):
        features, weights = run_gather(operands, settings)
    return features, weights


def _fake_gather_forward(*given: Any) -> tuple[Tensor, Tensor]:
    features, weights = empty_sums(*_structured(given))
    return features, weights


def _keep_gather(ctx: Any, inputs: Sequence[Any], output: tuple[Tensor, Tensor]) -> None:  # noqa: ARG001  torch passes both
    _save(ctx, inputs)


def _gather_gradients(ctx: Any, features: Tensor, weights: Tensor) -> tuple[Tensor | None, ...]:
    given = _saved(ctx)
    return _due(_gather_backward(features, weights, *given), given)


def _gather_backward_pass(features: Tensor, weights: Tensor, *given: Any) -> list[Tensor]:
    operands, settings = _structured(given)
    with without_autocast(operands.x.device):
        result = run_gather_backward(SliceSumGradients(features, weights), operands, settings)
    return _of_operands(result.grad_x, result.grads, operands)


def _fake_gather_backward(
    features: Tensor,  # noqa: ARG001  shapes follow from the operands alone
    weights: Tensor,  # noqa: ARG001
    *given: Any,
) -> list[Tensor]:
    return _fake_of_operands(_structured(given)[0])


def _read_forward(outputs: Tensor, *given: Any) -> Tensor:
    operands, settings = _structured(given)
    with without_autocast(operands.x.device):
        return run_read(outputs, operands, settings)


def _fake_read_forward(outputs: Tensor, *given: Any) -> Tensor:  # noqa: ARG001  as above
    x = _structured(given)[0].x
    return x.new_empty(x.shape)


def _keep_read(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:  # noqa: ARG001  torch passes both
    _save(ctx, inputs)


def _read_gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    outputs, *given = _saved(ctx)
    grad_outputs, *grads = _read_backward(gradient, outputs, *given)
    return grad_outputs, *_due(grads, given)


def _read_backward_pass(gradient: Tensor, outputs: Tensor, *given: Any) -> list[Tensor]:
    operands, settings = _structured(given)
    with without_autocast(operands.x.device):
        result = run_read_backward(gradient, outputs, operands, settings)
    return [result.grad_outputs, *_of_operands(result.grad_x, result.grads, operands)]


def _fake_read_backward(
    gradient: Tensor,  # noqa: ARG001  as above
    outputs: Tensor,
    *given: Any,
) -> list[Tensor]:
    return [outputs.new_empty(outputs.shape), *_fake_of_operands(_structured(given)[0])]


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
_gather = define_operator(
    "noether::gather_into_slices",
    f"({_OPERANDS}, {_SETTINGS}) -> (Tensor features, Tensor weights)",
    _gather_forward,
    fake=_fake_gather_forward,
    gradients=_gather_gradients,
    keep=_keep_gather,
    flops=gather_flops,
)
_gather_backward = define_operator(
    "noether::gather_into_slices_backward",
    f"(Tensor features, Tensor weights, {_OPERANDS}, {_SETTINGS}) -> Tensor[]",
    _gather_backward_pass,
    fake=_fake_gather_backward,
    gradients=_refuse,
    flops=gather_backward_flops,
)
_read_out = define_operator(
    "noether::read_from_slices",
    f"(Tensor outputs, {_OPERANDS}, {_SETTINGS}) -> Tensor",
    _read_forward,
    fake=_fake_read_forward,
    gradients=_read_gradients,
    keep=_keep_read,
    flops=read_flops,
)
_read_backward = define_operator(
    "noether::read_from_slices_backward",
    f"(Tensor gradient, Tensor outputs, {_OPERANDS}, {_SETTINGS}) -> Tensor[]",
    _read_backward_pass,
    fake=_fake_read_backward,
    gradients=_refuse,
    flops=read_backward_flops,
)
