"""What attention through slices computes with, and in which form: tensors, settings, tile size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from noether_core.nn.operators import (
    dtype_of_weights,
    is_recorded,
    is_transformed,
    without_autocast,
)
from noether_core.nn.slices.reference import EPS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from noether_core.schemas import Backend

TemperatureActivation = Literal["clamp", "sigmoid", "softplus", "exp"]
"""Map that makes a temperature positive: clamped to at least 0.01, or smooth."""

_BYTES_IN_CACHE = 1 << 23
"""Bytes of the slice weights of a tile on a CPU."""

_BYTES_TO_BE_BUSY = 1 << 26
"""Bytes of them on other devices, which need many tokens at once to be busy."""

_MIN_TILE, _MAX_TILE_IN_CACHE = 512, 4096
"""Tokens of a tile on a CPU.

Products of matrices slow down below the one, and above the other nothing is gained.
"""

_TILES_OF_FEW = 4
"""Tiles into which few tokens are cut on a CPU, so that one after another uses the same memory."""


class Operands(NamedTuple):
    """The tensors of attention through slices, each of which may have a gradient.

    ``D`` is the width of a token, ``d`` that of a head, and ``K`` that of what logits are made
    from.
    """

    x: Tensor
    """``(batch, tokens, D)``."""

    logit_weight: Tensor
    """``(heads, K, slices)``."""

    logit_bias: Tensor | None
    """``(heads, slices)``."""

    state_weight: Tensor | None
    """``(D, D)``: makes the states, of which each head has its share.

    None where nothing is made from states.
    """

    feature_weight: Tensor | None
    """``(D, D)``: makes the features of a token.

    None where the states are the features, or where the slices make them.
    """

    folded_feature_weight: Tensor | None
    """``(D, D)``: makes features in the slices, of which there are few, from whole tokens that they
    gathered; `out_weight` is then applied in the slices too. None where tokens have features.
    """

    feature_bias: Tensor | None
    """``(D,)``."""

    qkv_weight: Tensor
    """``(3 d, d)``: makes queries, keys and values of the slices."""

    qkv_bias: Tensor | None
    """``(3 d,)``."""

    out_weight: Tensor
    """``(D, D)``."""

    out_bias: Tensor | None
    """``(D,)``."""

    temperature: Tensor | None = None
    """``(heads,)``, what is made positive and divides the logits.

    None where the weights of the logits contain it.
    """

    inner_weight: Tensor | None = None
    """``(slices, d)``: first layer of what the states of a token add to the temperature.

    None, as `outer_weight` is, where they add nothing.
    """

    inner_bias: Tensor | None = None
    """``(heads, slices)``."""

    outer_weight: Tensor | None = None
    """``(slices,)``: the second layer."""

    outer_bias: Tensor | None = None
    """``(1,)``."""

    context_keys: Tensor | None = None
    """``(batch, heads, context tokens, d)``: keys of the context that slices attend to beside each
    other. None, as the rest then is, without a context.
    """

    context_values: Tensor | None = None
    """The same shape: its values."""

    context_query_weight: Tensor | None = None
    """``(d, d)``: makes the queries of the slices."""

    context_query_bias: Tensor | None = None
    """``(d,)``."""

    context_gate: Tensor | None = None
    """One number: its sigmoid is the share of what slices get of each other, and the rest that of
    what they get of the context. None where `mixing_weight` mixes both.
    """

    mixing_weight: Tensor | None = None
    """``(d, 2 d)``: mixes both, one behind the other."""

    mixing_bias: Tensor | None = None
    """``(d,)``."""

    def to(self, dtype: torch.dtype) -> Operands:
        """Return them in *dtype*, and those that each head has its own of in that of weights."""
        of_heads = dtype_of_weights(dtype)
        return Operands._make(
            None if each is None else each.to(of_heads if name in _OF_HEADS else dtype)
            for name, each in zip(self._fields, self, strict=True)
        )

    @property
    def is_folded(self) -> bool:
        """Whether features and output are projected in the slices, and not in the tokens."""
        return self.folded_feature_weight is not None


_OF_HEADS = frozenset(
    {
        "logit_weight",
        "logit_bias",
        "temperature",
        "inner_weight",
        "inner_bias",
        "outer_weight",
        "outer_bias",
    }
)
"""The operands that make slice weights of what each head has."""


class Settings(NamedTuple):
    """What attention through slices is given beside its operands; nothing here has a gradient."""

    key_padding_mask: Tensor | None = None
    """``(batch, tokens)`` booleans, True for real tokens; None where all are."""

    noise_seed: Tensor | None = None
    """Decides the Gumbel noise that is added to the logits; None for no noise."""

    dropout_seed: Tensor | None = None
    """Decides which weights among the slices are dropped; None where none are."""

    dropout: float = 0.0
    """Probability of dropping one."""

    num_heads: int = 1
    """Number of heads."""

    tile_size: int = 1
    """The most tokens that are computed at once."""

    logits_from_tokens: bool = False
    """Whether logits are made from whole tokens, ``K = D``; else from a head's share of the states,
    ``K = d``.
    """

    temperature_activation: TemperatureActivation = "clamp"
    """Makes temperatures positive."""

    first_token: int = 0
    """Number of the first token, by which noise is drawn."""

    eps: float = EPS
    """Added to the sum of the weights of a slice."""


class LogitMap(NamedTuple):
    """A linear map of each head to the logits of its slices."""

    weight: Tensor
    """``(heads, K, slices)``."""

    bias: Tensor | None
    """``(heads, slices)``."""


def logits_from_states(
    slices: nn.Linear,
    states: nn.Linear,
    num_heads: int,
    *,
    temperature: Tensor | None = None,
    is_folded: bool = False,
) -> LogitMap:
    """Return the map from states without their bias to ``slices(states) / temperature``.

    Products of weights are made once a call, and not with every token.

    Args:
        slices: Layer from a head's share of the states, ``head_dim``, to the slices.
        states: Layer that makes the states, whose bias becomes part of the result.
        num_heads: Number of heads.
        temperature: One number of each head, which becomes part of the result.
        is_folded: Whether the weight of *states* becomes part too, so that the map is one from
            tokens.
    """
    # Weights keep their own bits here, whatever autocast does with what is made of tokens.
    with without_autocast(slices.weight.device):
        weight = slices.weight.t().expand(num_heads, -1, -1)
        bias = None if slices.bias is None else slices.bias.expand(num_heads, -1)

        if states.bias is not None:
            shift = states.bias.view(num_heads, -1) @ slices.weight.t()
            bias = shift if bias is None else bias + shift

        if temperature is not None:
            weight = weight / temperature.view(-1, 1, 1)
            bias = None if bias is None else bias / temperature.view(-1, 1)

        if is_folded:
            by_head = states.weight.view(num_heads, -1, states.in_features)
            weight = by_head.transpose(1, 2) @ weight
    return LogitMap(weight, bias)


def logits_from_tokens(layer: nn.Linear, num_heads: int) -> LogitMap:
    """Return the map of each head that *layer*, from tokens to the slices of all heads, stacks."""
    weight = layer.weight.view(num_heads, -1, layer.in_features).transpose(1, 2)
    return LogitMap(weight, None if layer.bias is None else layer.bias.view(num_heads, -1))


class StackedLayers(NamedTuple):
    """One linear layer whose rows are those of several."""

    weight: Tensor
    bias: Tensor | None


def stack_layers(*layers: nn.Linear) -> StackedLayers:
    """Return one layer whose rows are those of *layers*, which all have a bias or none."""
    weights: list[Tensor] = [layer.weight for layer in layers]
    biases: list[Tensor] = [layer.bias for layer in layers if layer.bias is not None]
    bias = torch.cat(biases) if biases else None
    return StackedLayers(torch.cat(weights), bias)


def folding_pays(hidden_dim: int, num_heads: int, num_slices: int) -> bool:
    """Return whether products of projections of tokens and of slices take fewer operations.

    A token takes ``3 D^2 + 4 D G`` multiplications where it is projected to states, features and
    output, and where logits (twice), sums and output go through the slices of each head; with
    products of weights it takes ``4 D H G``. So folding pays where ``4 G (H - 1) < 3 D``: for few
    slices, and always for one head.
    """
    return 4 * num_slices * (num_heads - 1) < 3 * hidden_dim


def operands_of(
    x: Tensor,
    *,
    states: nn.Linear,
    features: nn.Linear,
    logits: LogitMap,
    qkv: StackedLayers,
    output: nn.Linear,
    is_folded: bool,
) -> Operands:
    """Return the operands of slices that gather features which *features* makes.

    Args:
        x: ``(batch, tokens, D)``.
        states: Makes what the logits are made from.
        features: Makes what slices gather.
        logits: What `logits_from_states` returned, with the same *is_folded*.
        qkv: Makes queries, keys and values of the slices.
        output: Makes the output of tokens.
        is_folded: Whether features and output are made in the slices.
    """
    return Operands(
        x,
        logit_weight=logits.weight,
        logit_bias=logits.bias,
        state_weight=None if is_folded else states.weight,
        feature_weight=None if is_folded else features.weight,
        folded_feature_weight=features.weight if is_folded else None,
        feature_bias=features.bias,
        qkv_weight=qkv.weight,
        qkv_bias=qkv.bias,
        out_weight=output.weight,
        out_bias=output.bias,
    )


class SliceModule(Protocol):
    """A module that attends through slices, and what its config says."""

    num_heads: int
    num_slices: int

    chunk_size: int | None
    """Tokens at once that the config demands; more than these are computed in tiles."""

    @property
    def backend(self) -> Backend:
        """The kernel; all but ``"auto"`` hold the slice weights of all tokens."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters, which may need gradients."""
        ...


def choose_tile_size(module: SliceModule, x: Tensor, *, draws_noise: bool = False) -> int | None:
    """Return how many tokens are computed at once, or None to hold the slice weights of all.

    A tile is ``2^floor(log2(bytes / (4 num_heads num_slices)))`` tokens, with *bytes* of 8 MiB on
    a CPU and 64 MiB elsewhere; on a CPU 512 to 4,096, and a quarter of all tokens where they are
    few. Weights are held where they take no more than those *bytes*, since they need not be made
    again for gradients; where nothing is recorded for gradients, a quarter of that, and twice as
    much where noise would be drawn again. Those of 512 tokens are always held, and so are all under
    `torch.func` and forward-mode derivatives, which do not see into operators. Compilers get one
    form for all numbers of tokens.

    Args:
        module: Whose weights these are.
        x: ``(batch, tokens, hidden_dim)``.
        draws_noise: Whether noise is added to the logits.
    """
    is_compiling = torch.compiler.is_compiling()
    if module.backend != "auto" or (not is_compiling and is_transformed()):
        return None

    is_on_cpu = x.device.type == "cpu"
    fitting = _tokens_that_fit(module, _BYTES_IN_CACHE if is_on_cpu else _BYTES_TO_BE_BUSY)
    largest = max(_MIN_TILE, fitting)
    if is_on_cpu:
        largest = min(largest, _MAX_TILE_IN_CACHE)
    if is_compiling:
        return module.chunk_size or largest

    tokens = x.shape[0] * x.shape[1]
    if module.chunk_size:
        return module.chunk_size if tokens > module.chunk_size else None
    if tokens <= max(_MIN_TILE, fitting * _held_share(module, x, draws_noise=draws_noise)):
        return None
    if is_on_cpu:
        return min(largest, max(_MIN_TILE, math.ceil(tokens / _TILES_OF_FEW)))
    return largest


def _tokens_that_fit(module: SliceModule, available: int) -> int:
    """Return the largest power of two of tokens whose weights fit into *available* bytes."""
    fitting = available // (4 * module.num_heads * module.num_slices)
    return 1 << (fitting.bit_length() - 1) if fitting else 0


def _held_share(module: SliceModule, x: Tensor, *, draws_noise: bool) -> float:
    """Return how many times the tokens that fit may be held, by what it costs to stream them."""
    if draws_noise:
        return 2
    return 1 if is_recorded(x, *module.parameters()) else 1 / 4
