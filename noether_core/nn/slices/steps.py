"""The steps of attention through slices, each forward and beside it backward.

Of a tile: its tokens and their states, features, temperatures and slice weights. Of all: what
slices make of the sums over tokens, in the bits of the sums.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

from noether_core.nn.noise import gumbel, token_rows, uniform_at
from noether_core.nn.operators import dtype_of_sums, dtype_of_weights
from noether_core.nn.slices.context import attend_to_context, context_backward_
from noether_core.nn.slices.reference import drop_slice_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from noether_core.nn.slices.context import ContextSteps
    from noether_core.nn.slices.plan import Operands, Settings, TemperatureActivation
    from noether_core.nn.slices.tiles import OperandGradients, Tile


class Sources(NamedTuple):
    """What a tile starts from, ``(samples * tokens, D)`` each."""

    tokens: Tensor
    """The tokens; padding as zeros, whatever it holds."""

    states: Tensor
    """The states; the tokens themselves where nothing is made from states."""


class SourceGradients(NamedTuple):
    """The gradients of the sources of a tile; None where nothing was made of one."""

    grad_tokens: Tensor | None
    grad_states: Tensor | None


def make_sources(tile: Tile, *, states_out: Tensor) -> Sources:
    """Return what a tile starts from.

    Args:
        tile: The tile.
        states_out: ``(samples * tokens, D)``, where its states are written to.
    """
    tokens = _real_tokens(tile)
    weight = tile.operands.state_weight
    if weight is None:
        return Sources(tokens, tokens)
    return Sources(tokens, torch.mm(tokens, weight.t(), out=states_out))


def kept_sources(tile: Tile, *, states: Tensor) -> Sources:
    """Return what `make_sources` returned, with the *states* that it wrote."""
    tokens = _real_tokens(tile)
    return Sources(tokens, tokens if tile.operands.state_weight is None else states)


def _real_tokens(tile: Tile) -> Tensor:
    return tile.tokens if tile.is_real is None else tile.tokens.masked_fill(~tile.is_real, 0)


def make_features(sources: Sources, tile: Tile) -> Tensor:
    """Return what each head gathers, ``(samples * heads, tokens, width)``, before its bias."""
    if tile.operands.is_folded:
        return tile.for_every_head(sources.tokens)
    weight = tile.operands.feature_weight
    if weight is None:
        return tile.by_head(sources.states)
    return tile.by_head(tile.scratch.product("features", sources.tokens, weight.t()))


def sources_backward_(  # noqa: PLR0917  all of them are of one kind
    grads: OperandGradients,
    grad_rows: Tensor,
    grad_features: Tensor | None,
    grad_sources: SourceGradients,
    sources: Sources,
    tile: Tile,
) -> None:
    """Write the gradient of the tokens of a tile, through states and features.

    Args:
        grads: Gradients of the operands, which are added to.
        grad_rows: Where that of the tokens is written to, ``(samples * tokens, D)``.
        grad_features: That of the features, of the same shape; with folded weights, of the tokens.
            None where there is none.
        grad_sources: Those that come by way of the slice weights.
        sources: The tokens and states.
        tile: The tile.
    """
    own, dtype = tile.operands, grad_rows.dtype
    grad_tokens, grad_states = grad_sources
    states_are_features = not own.is_folded and own.feature_weight is None
    if states_are_features and grad_features is not None:
        grad_states = grad_features if grad_states is None else grad_states + grad_features

    if own.state_weight is None or grad_states is None:
        grad_rows.zero_()
    else:
        grad_states = grad_states.to(dtype)
        torch.mm(grad_states, own.state_weight, out=grad_rows)
        grads.state_weight.add_product_(grad_states.t(), sources.tokens)

    if grad_tokens is not None:
        grad_rows += grad_tokens
    if grad_features is None:
        return
    if own.is_folded:
        grad_rows += grad_features
    elif own.feature_weight is not None:
        grad_features = grad_features.to(dtype)
        grad_rows.addmm_(grad_features, own.feature_weight)
        grads.feature_weight.add_product_(grad_features.t(), sources.tokens)


MIN_TEMPERATURE = 0.01
"""Where temperatures are clamped."""


def _clamp(raw: Tensor) -> Tensor:
    return raw.clamp_min(MIN_TEMPERATURE)


_LEAST_EXPONENT = -60.0
"""Where exponents are clamped: the softmax behind them is a maximum long before."""


def _inverse_of_exp(raw: Tensor) -> Tensor:
    """Return ``1 / exp(raw)``, by which logits are multiplied rather than divided.

    It is finite for all numbers, and so are the gradients through it, also where ``exp(raw)``
    overflows. Half precision is widened, as autocast does it.
    """
    return torch.exp(-raw.to(dtype_of_sums(raw.dtype)).clamp_min(_LEAST_EXPONENT))


TEMPERATURE_ACTIVATIONS: Mapping[TemperatureActivation, Callable[[Tensor], Tensor]] = {
    "clamp": _clamp,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "exp": torch.exp,
}
"""The maps that make a temperature positive."""


def soft_slices(logits: Tensor, raw: Tensor, activation: TemperatureActivation) -> Tensor:
    """Return how much tokens belong to slices, ``softmax(logits / activation(raw))``.

    Args:
        logits: ``(batch, heads, tokens, slices)``.
        raw: ``(batch, heads, tokens or 1, 1)``: the temperatures before their activation.
        activation: What makes them positive.
    """
    raw = raw.to(dtype_of_weights(raw.dtype))
    if activation == "exp":
        weights = (logits * _inverse_of_exp(raw)).softmax(dim=-1)
        return weights.to(torch.result_type(logits, raw))
    return (logits / TEMPERATURE_ACTIVATIONS[activation](raw)).softmax(dim=-1)


_SLOPES: Mapping[TemperatureActivation, Callable[[Tensor, Tensor], Tensor]] = {
    "clamp": lambda raw, _: raw >= MIN_TEMPERATURE,
    "sigmoid": lambda _, positive: positive * (1 - positive),
    "softplus": lambda raw, _: raw.sigmoid(),
}
"""Their derivatives, from what they are given and what they return; but for ``"exp"``."""


class AdaptiveTemperatures(NamedTuple):
    """What the states of a tile add to its temperatures, and the weights that make it."""

    inner_weight: Tensor
    outer_weight: Tensor

    inner: Tensor
    """``(samples * heads, tokens, slices)``: first layer, before its activation."""

    outer: Tensor
    """``(samples * heads, tokens, 1)``: second layer, before its activation."""


class Temperatures(NamedTuple):
    """Temperatures of a tile, and the steps to them."""

    adaptive: AdaptiveTemperatures | None
    """None where a head has one temperature for all tokens."""

    raw: Tensor
    """``(samples * heads, tokens or 1, 1)``."""

    positive: Tensor
    """The same shape: what divides the logits; with ``"exp"`` its inverse, a factor of theirs."""


def make_temperatures(each_head: Tensor, states: Tensor, tile: Tile) -> Temperatures:
    """Return ``positive(temperature + gelu(outer gelu(inner states)))`` of the tokens of a tile.

    Args:
        each_head: ``(heads,)``, the temperature before its activation.
        states: ``(samples * tokens, D)``.
        tile: The tile.
    """
    raw = tile.repeat(each_head).view(-1, 1, 1)
    adaptive = _adaptive_temperatures(states, tile)
    if adaptive is not None:
        raw = raw + functional.gelu(adaptive.outer.to(raw.dtype))
    if tile.settings.temperature_activation == "exp":
        return Temperatures(adaptive, raw, _inverse_of_exp(raw))
    positive = TEMPERATURE_ACTIVATIONS[tile.settings.temperature_activation](raw)
    return Temperatures(adaptive, raw, positive)


def _adaptive_temperatures(states: Tensor, tile: Tile) -> AdaptiveTemperatures | None:
    own = tile.operands
    if own.inner_weight is None or own.outer_weight is None:
        return None
    # One layer serves all heads; the batched product keeps its result in scratch memory.
    by_head = tile.by_head(states)
    weight = own.inner_weight.t().expand(len(by_head), -1, -1)
    inner = tile.scratch.product("inner", by_head, weight)
    if own.inner_bias is not None:
        inner += tile.repeat(own.inner_bias).unsqueeze(1)
    hidden = functional.gelu(inner)
    outer = functional.linear(hidden, own.outer_weight.unsqueeze(0), own.outer_bias)
    return AdaptiveTemperatures(own.inner_weight, own.outer_weight, inner, outer)


def temperatures_backward_(
    grads: OperandGradients, grad_raw: Tensor, made: Temperatures, states: Tensor, tile: Tile
) -> Tensor | None:
    """Add to *grads* what a tile gives, and return the gradient of its states, if it has one.

    Args:
        grads: Gradients of the operands.
        grad_raw: That of the temperatures before their activation, ``(samples * heads, tokens,
            1)``.
        made: The temperatures.
        states: ``(samples * tokens, D)``.
        tile: The tile.
    """
    grads.temperature.add_(tile.sum_samples(grad_raw.sum(dim=(1, 2))))
    adaptive = made.adaptive
    if adaptive is None:
        return None

    # What exp widened is narrowed to what the layers have.
    outer = adaptive.outer.to(grad_raw.dtype)
    grad_outer = torch.ops.aten.gelu_backward(grad_raw, outer).to(adaptive.outer.dtype)
    grads.outer_weight.add_((functional.gelu(adaptive.inner) * grad_outer).sum(dim=(0, 1)))
    if tile.operands.outer_bias is not None:
        grads.outer_bias.add_(grad_outer.sum())

    grad_hidden = grad_outer * adaptive.outer_weight
    grad_inner = torch.ops.aten.gelu_backward(grad_hidden, adaptive.inner)
    if tile.operands.inner_bias is not None:
        grads.inner_bias.add_(tile.sum_samples(grad_inner.sum(dim=1)))
    flat_states = tile.by_head(states).flatten(0, 1)
    grads.inner_weight.add_product_(grad_inner.flatten(0, 1).t(), flat_states)
    return tile.by_token(grad_inner @ adaptive.inner_weight, "grad states")


class Sharpened(NamedTuple):
    """Logits over temperatures."""

    logits: Tensor
    """``(samples * heads, tokens, slices)``."""

    temperatures: Temperatures


class TokenWeights(NamedTuple):
    """How much the tokens of a tile belong to the slices, and what the gradients need."""

    weights: Tensor
    """``(samples * heads, tokens, slices)``; zero for padding."""

    sharpened: Sharpened | None
    """None without temperatures."""


def weigh_tokens(sources: Sources, tile: Tile) -> TokenWeights:
    """Return the weights with which the tokens of a tile belong to the slices."""
    own, settings = tile.operands, tile.settings
    logit_weight = tile.repeat(own.logit_weight)
    logits = tile.scratch.product("logits", _logit_source(sources, tile), logit_weight)
    if own.logit_bias is not None:
        logits += tile.repeat(own.logit_bias).unsqueeze(1)
    if settings.noise_seed is not None:
        logits += _noise(logits, settings.noise_seed, tile)

    sharpened = None
    weights = logits  # without temperatures, nothing needs the logits again
    if own.temperature is not None:
        temperatures = make_temperatures(own.temperature, sources.states, tile)
        weights = tile.scratch.empty("weights", logits.shape, logits.dtype)
        if settings.temperature_activation == "exp":
            # Half precision has too few bits for what large temperatures leave of logits.
            logits = logits * temperatures.positive
        else:
            logits.div_(temperatures.positive)
        sharpened = Sharpened(logits, temperatures)

    if logits.dtype == weights.dtype:
        torch.softmax(logits, dim=-1, out=weights)
    else:
        weights.copy_(logits.softmax(dim=-1))
    if tile.is_real is not None:
        weights.masked_fill_(~tile.for_every_head(tile.is_real), 0)
    return TokenWeights(weights, sharpened)


def token_weights_backward_(
    grads: OperandGradients, gradient: Tensor, made: TokenWeights, sources: Sources, tile: Tile
) -> SourceGradients:
    """Add to *grads* what a tile gives, and return the gradients of its sources.

    Args:
        grads: Gradients of the operands.
        gradient: That of the weights, ``(samples * heads, tokens, slices)``; overwritten.
        made: The weights.
        sources: What they were made from.
        tile: The tile.
    """
    # The kernel behind torch's softmax, which can write over what it is given.
    grad_logits = gradient
    torch._softmax_backward_data(  # noqa: SLF001
        gradient, made.weights, -1, gradient.dtype, grad_input=grad_logits
    )

    grad_states = None
    if made.sharpened is not None:
        grad_raw = sharpened_backward_(grad_logits, made.sharpened, tile)
        temperatures = made.sharpened.temperatures
        grad_states = temperatures_backward_(grads, grad_raw, temperatures, sources.states, tile)

    source = _logit_source(sources, tile).transpose(1, 2)
    if tile.samples == 1:
        grads.logit_weight.add_product_(source, grad_logits)
    else:
        grads.logit_weight.add_(tile.sum_samples(torch.bmm(source, grad_logits)))
    if tile.operands.logit_bias is not None:
        grads.logit_bias.add_(tile.sum_samples(grad_logits.sum(dim=1)))

    back = tile.repeat(tile.operands.logit_weight.transpose(1, 2))
    from_tokens = tile.settings.logits_from_tokens
    grad_source = tile.combine("grad source", grad_logits, back, sum_heads=from_tokens)
    if from_tokens:
        return SourceGradients(grad_source, grad_states)
    return SourceGradients(None, grad_source if grad_states is None else grad_source + grad_states)


def sharpened_backward_(grad_logits: Tensor, sharpened: Sharpened, tile: Tile) -> Tensor:
    """Return the gradient of the temperatures before their activation.

    Args:
        grad_logits: That of the logits over temperatures; becomes that of the logits themselves.
        sharpened: The logits over temperatures.
        tile: The tile.
    """
    logits, (_, raw, positive) = sharpened
    activation = tile.settings.temperature_activation
    if activation == "exp":  # of l / exp(r) by r: minus itself
        grad_raw = -(grad_logits * logits).sum(dim=-1, keepdim=True)
        grad_logits *= positive
        return grad_raw.masked_fill(raw < _LEAST_EXPONENT, 0)

    # Of l / t by l and by t: dl / t, and minus their product with l / t.
    grad_logits /= positive
    grad_temperatures = -(grad_logits * logits).sum(dim=-1, keepdim=True)
    return grad_temperatures * _SLOPES[activation](raw, positive)


def _logit_source(sources: Sources, tile: Tile) -> Tensor:
    """Return what each head makes its logits from, ``(samples * heads, tokens, K)``."""
    if tile.settings.logits_from_tokens:
        return tile.for_every_head(sources.tokens)
    return tile.by_head(sources.states)


def _noise(logits: Tensor, seed: Tensor, tile: Tile) -> Tensor:
    """Return the Gumbel noise of a tile.

    It follows from sample, head, token and slice, so that it is the same however tokens are cut.
    """
    first = tile.settings.first_token + tile.rows.start % tile.operands.x.shape[1]
    rows = token_rows(tile.heads.stop, logits.shape[1], logits.device, first=first)
    own = rows[tile.heads.start :]

    uniform = uniform_at(seed, own, logits.shape[-1], dtype=dtype_of_sums(logits.dtype))
    return gumbel(uniform).to(logits.dtype)


class SliceSums(NamedTuple):
    """What slices gather from the tokens."""

    features: Tensor
    """``(batch, heads, slices, width)``: weighted features; with folded weights, the weighted
    tokens themselves.
    """

    weights: Tensor
    """``(batch, heads, slices)``."""


class ForwardResult(NamedTuple):
    """What the forward passes return."""

    y: Tensor
    """The output, ``(batch, tokens, D)``."""

    sums: SliceSums
    """What the slices gathered, which the backward passes start from."""


class SliceSumGradients(NamedTuple):
    """The gradients of what slices gathered."""

    grad_features: Tensor
    grad_weights: Tensor


class MixedSlices(NamedTuple):
    """The steps of attention among slices, each ``(batch, heads, slices, ...)``."""

    means: Tensor
    queries: Tensor
    keys: Tensor
    values: Tensor
    weights: Tensor

    kept: Tensor
    """The weights after dropout."""

    context: ContextSteps | None
    """Those of attention to a context; None without."""

    attended: Tensor
    """What the slices get of each other, and of the context, of the width of a head."""

    outputs: Tensor
    """What a token gets of a slice; with folded weights, its part of the output."""


def empty_sums(operands: Operands, settings: Settings) -> SliceSums:
    """Return sums over no tokens."""
    batch, _, width = operands.x.shape
    shape = (batch, settings.num_heads, operands.logit_weight.shape[-1])
    feature_width = width if operands.is_folded else width // settings.num_heads
    dtype = dtype_of_sums(operands.x.dtype)
    features = operands.x.new_zeros((*shape, feature_width), dtype=dtype)
    return SliceSums(features, operands.x.new_zeros(shape, dtype=dtype))


def mix_slices(sums: SliceSums, operands: Operands, settings: Settings) -> MixedSlices:
    """Return the steps from sums over tokens to what a token gets of each slice."""
    totals = (sums.weights + settings.eps).unsqueeze(-1)
    means = summed_features(sums, operands, settings) / totals

    # The few products here cost nothing beside those of tokens, and stay in the bits of the sums.
    qkv_bias = None if operands.qkv_bias is None else operands.qkv_bias.to(means.dtype)
    qkv = functional.linear(means, operands.qkv_weight.to(means.dtype), qkv_bias)
    queries, keys, values = qkv.chunk(3, dim=-1)

    logits = queries @ keys.transpose(-2, -1) / math.sqrt(means.shape[-1])
    weights = logits.softmax(dim=-1)
    kept = _drop(weights, settings)
    attended = kept @ values
    context = attend_to_context(means, attended, operands, settings)
    if context is not None:
        attended = context.mixed

    outputs = outputs_of(attended, operands, settings)
    return MixedSlices(means, queries, keys, values, weights, kept, context, attended, outputs)


def summed_features(sums: SliceSums, operands: Operands, settings: Settings) -> Tensor:
    """Return the sums of features, ``(batch, heads, slices, head_dim)``, in all of their bits.

    With folded weights the features are made here; their bias is added here always.
    """
    features = sums.features
    if operands.folded_feature_weight is not None:
        weight = _rows_of_heads(operands.folded_feature_weight, features, settings)
        features = features @ weight.transpose(-2, -1)
    if operands.feature_bias is not None:
        bias = _bias_of_heads(operands.feature_bias, features, settings)
        features = features + sums.weights.unsqueeze(-1) * bias
    return features


def outputs_of(attended: Tensor, operands: Operands, settings: Settings) -> Tensor:
    """Return what a token gets of each slice: with folded weights, its part of the output."""
    if not operands.is_folded:
        return attended
    return attended @ _columns_of_heads(operands.out_weight, attended, settings).mT


def mix_slices_backward_(  # noqa: PLR0917  all of them are of one kind
    grads: OperandGradients,
    gradient: Tensor,
    mixed: MixedSlices,
    sums: SliceSums,
    operands: Operands,
    settings: Settings,
) -> SliceSumGradients:
    """Add to *grads* what the slices give, and return the gradients of the sums.

    Args:
        grads: Gradients of the operands.
        gradient: That of ``mixed.outputs``.
        mixed: The steps.
        sums: What they started from.
        operands: The tensors.
        settings: The rest.
    """
    if operands.is_folded:
        grad_by_head = (gradient.transpose(-2, -1) @ mixed.attended).sum(dim=0)
        grads.out_weight.add_(grad_by_head.transpose(0, 1).flatten(1))
        gradient = gradient @ _columns_of_heads(operands.out_weight, gradient, settings)

    grad_means = torch.zeros_like(mixed.means)
    if mixed.context is not None:
        gradient, grad_means = context_backward_(
            grads, gradient, mixed.context, mixed.means, operands, settings
        )

    # The softmax backward, dl = w (dw - sum w dw).
    grad_weights = _drop(gradient @ mixed.values.transpose(-2, -1), settings)
    weighted = (grad_weights * mixed.weights).sum(dim=-1, keepdim=True)
    grad_logits = mixed.weights * (grad_weights - weighted) / math.sqrt(mixed.means.shape[-1])

    grad_queries = grad_logits @ mixed.keys
    grad_keys = grad_logits.transpose(-2, -1) @ mixed.queries
    grad_values = mixed.kept.transpose(-2, -1) @ gradient
    grad_qkv = torch.cat((grad_queries, grad_keys, grad_values), dim=-1)
    flat = grad_qkv.flatten(0, -2)
    grads.qkv_weight.add_(flat.t() @ mixed.means.flatten(0, -2))
    grads.qkv_bias.add_(flat.sum(dim=0))

    grad_means += grad_qkv @ operands.qkv_weight.to(grad_qkv.dtype)
    grad_features = grad_means / (sums.weights + settings.eps).unsqueeze(-1)
    grad_counts = -(grad_features * mixed.means).sum(dim=-1)
    if operands.feature_bias is not None:
        grad_bias = grad_features * sums.weights.unsqueeze(-1)
        grads.feature_bias.add_(grad_bias.sum(dim=(0, 2)).flatten())
        bias = _bias_of_heads(operands.feature_bias, grad_features, settings)
        grad_counts += (grad_features * bias).sum(dim=-1)
    if operands.folded_feature_weight is not None:
        grad_by_head = (grad_features.transpose(-2, -1) @ sums.features).sum(dim=0)
        grads.folded_feature_weight.add_(grad_by_head.flatten(0, 1))
        weight = _rows_of_heads(operands.folded_feature_weight, grad_features, settings)
        grad_features = grad_features @ weight
    return SliceSumGradients(grad_features, grad_counts)


def _drop(weights: Tensor, settings: Settings) -> Tensor:
    """Drop weights among slices, or their gradients."""
    seed = settings.dropout_seed
    return weights if seed is None else drop_slice_weights(weights, settings.dropout, seed)


def _rows_of_heads(weight: Tensor, like: Tensor, settings: Settings) -> Tensor:
    """Return the rows that make each head's features, ``(heads, head_dim, D)``."""
    return weight.to(like.dtype).view(settings.num_heads, -1, weight.shape[1])


def _bias_of_heads(bias: Tensor, like: Tensor, settings: Settings) -> Tensor:
    """Return what is added to each head's features, ``(heads, 1, head_dim)``."""
    return bias.to(like.dtype).view(settings.num_heads, 1, -1)


def _columns_of_heads(weight: Tensor, like: Tensor, settings: Settings) -> Tensor:
    """Return the columns that take what each head attends to, ``(heads, D, head_dim)``."""
    by_head = weight.to(like.dtype).view(weight.shape[0], settings.num_heads, -1)
    return by_head.transpose(0, 1)
