"""Attention through slices in operators of torch alone, for formats that have no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

from noether_core.nn.layers import merge_heads, split_heads
from noether_core.nn.noise import gumbel, token_rows, uniform_at
from noether_core.nn.operators import dtype_of_sums
from noether_core.nn.slices.steps import ForwardResult, SliceSums, mix_slices, soft_slices

if TYPE_CHECKING:
    from torch import Tensor

    from noether_core.nn.slices.plan import Operands, Settings


def run_at_once(operands: Operands, settings: Settings) -> ForwardResult:
    """Return what the operator that streams does, and hold the slice weights of all tokens.

    It writes to nothing and looks at no size, so that a graph of it serves any number of tokens.
    """
    x, is_real = operands.x, settings.key_padding_mask
    if is_real is not None:
        x = x.masked_fill(~is_real.unsqueeze(-1), 0.0)
    # Where nothing is made from states, these are the tokens.
    weight = operands.state_weight
    states = x if weight is None else functional.linear(x, weight)

    weights = _weigh(x, states, operands, settings)
    if is_real is not None:
        weights = weights.masked_fill(~is_real[:, None, :, None], 0.0)

    dtype = dtype_of_sums(x.dtype)
    features = _features(x, states, operands, settings).to(dtype)
    sums = SliceSums(weights.to(dtype).mT @ features, weights.sum(dim=-2, dtype=dtype))
    outputs = mix_slices(sums, operands, settings).outputs

    return ForwardResult(_project(weights @ outputs.to(x.dtype), operands), sums)


def _weigh(x: Tensor, states: Tensor, operands: Operands, settings: Settings) -> Tensor:
    """Return how much tokens belong to each slice, ``(batch, heads, tokens, slices)``."""
    by_head = split_heads(states, settings.num_heads)
    source = x.unsqueeze(1) if settings.logits_from_tokens else by_head
    logits = source @ operands.logit_weight
    if operands.logit_bias is not None:
        logits = logits + operands.logit_bias.unsqueeze(1)
    if settings.noise_seed is not None:
        logits = logits + _noise(logits, settings.noise_seed, settings.first_token)

    if operands.temperature is None:
        return logits.softmax(dim=-1)
    raw = _raw_temperature(operands.temperature, by_head, operands)
    return soft_slices(logits, raw, settings.temperature_activation).to(x.dtype)


def _noise(logits: Tensor, seed: Tensor, first_token: int) -> Tensor:
    """Return Gumbel noise by sample, head, token and slice."""
    batch, heads, tokens, slices = logits.shape
    rows = token_rows(batch * heads, tokens, logits.device, first=first_token)
    uniform = uniform_at(seed, rows, slices, dtype=dtype_of_sums(logits.dtype))
    return gumbel(uniform).view(logits.shape)


def _raw_temperature(each_head: Tensor, states: Tensor, operands: Operands) -> Tensor:
    """Return temperatures before their activation, ``(batch or 1, heads, tokens or 1, 1)``."""
    raw = each_head.view(1, -1, 1, 1)
    if operands.inner_weight is None or operands.outer_weight is None:
        return raw
    inner = states @ operands.inner_weight.t()
    if operands.inner_bias is not None:
        inner = inner + operands.inner_bias.unsqueeze(1)
    outer = functional.linear(
        functional.gelu(inner), operands.outer_weight.unsqueeze(0), operands.outer_bias
    )
    return raw + functional.gelu(outer.to(raw.dtype))


def _features(x: Tensor, states: Tensor, operands: Operands, settings: Settings) -> Tensor:
    """Return what each head gathers, ``(batch, heads or 1, tokens, width)``, before its bias."""
    if operands.is_folded:
        return x.unsqueeze(1)
    weight = operands.feature_weight
    features = states if weight is None else functional.linear(x, weight)
    return split_heads(features, settings.num_heads)


def _project(read: Tensor, operands: Operands) -> Tensor:
    """Return what heads *read* as output; with folded weights, the slices projected it."""
    weight, bias = operands.out_weight, operands.out_bias
    if not operands.is_folded:
        return functional.linear(merge_heads(read), weight, bias)
    y = read.sum(dim=1)
    return y if bias is None else y + bias
