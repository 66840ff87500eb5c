"""The three steps of attention through slices, for weights of all tokens at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from noether_core.nn.attention import attend
from noether_core.nn.layers import plain_linear
from noether_core.nn.noise import draw_seed, dropout_at
from noether_core.nn.operators import (
    dtype_of_weights,
    exact_product,
    is_transformed,
    without_autocast,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from noether_core.schemas import Backend

EPS = 1e-5
"""Added to the sum of the weights of a slice, to which hardly any token may belong."""


def weigh_for_slices(states: Tensor, layer: nn.Module, temperature: Tensor) -> Tensor:
    """Return how much each token belongs to each slice, ``softmax(layer(states) / temperature)``.

    The weights of a token add up to 1.

    Args:
        states: ``(batch, heads, tokens, head_dim)``.
        layer: From ``head_dim`` to the slices.
        temperature: ``(1, heads, 1, 1)``.

    Returns:
        ``(batch, heads, tokens, slices)``.
    """
    temperature = temperature.to(dtype_of_weights(temperature.dtype))
    plain = plain_linear(layer)
    if plain is None:
        logits: Tensor = layer(states) / temperature
        return logits.softmax(dim=-1)

    # The temperature divides weight and bias rather than logits, which grow with the tokens.
    weight = plain.weight.t() / temperature
    bias = None if plain.bias is None else plain.bias / temperature
    if states.dtype == torch.float16:
        logits = exact_product(states.float(), weight)
    else:
        logits = states @ weight
    if bias is not None:
        logits = logits.add_(bias)
    return logits.softmax(dim=-1)


def gather_slices(
    weights: Tensor,
    features: Tensor,
    key_padding_mask: Tensor | None = None,
    *,
    eps: float = EPS,
) -> Tensor:
    """Return the mean of the features in each slice, ``sum_n w_ng f_n / (sum_n w_ng + eps)``.

    Wu et al., Transolver, 2024 (arXiv 2402.02366), equation 2.

    Args:
        weights: ``(batch, heads, tokens, slices)``: how much a token belongs to a slice.
        features: ``(batch, heads, tokens, head_dim)``.
        key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. Padding adds to no
            slice.
        eps: What is added to the sum of weights.

    Returns:
        ``(batch, heads, slices, head_dim)``.
    """
    means = means_of(sum_into_slices(weights, features, key_padding_mask), eps=eps)
    return means.to(features.dtype) if features.dtype == torch.float16 else means


def sum_into_slices(weights: Tensor, features: Tensor, key_padding_mask: Tensor | None) -> Tensor:
    """Return the sums of features by weight, and in the last column those of the weights.

    Takes what `gather_slices` does; returns ``(batch, heads, slices, head_dim + 1)``, in float32
    for float16.
    """
    # Half precision ends at 65,504, which sums over tokens exceed, and gradients over small sums.
    is_narrow = torch.float16 in (weights.dtype, features.dtype)
    if is_narrow:
        weights, features = weights.float(), features.float()

    # The column of ones sums the weights in the same product.
    counted = functional.pad(features, (0, 1), value=1.0)
    if key_padding_mask is not None:
        counted = counted.masked_fill(~key_padding_mask[:, None, :, None], 0.0)
    by_slice = weights.transpose(-2, -1)
    return exact_product(by_slice, counted) if is_narrow else by_slice @ counted


def means_of(sums: Tensor, *, eps: float = EPS) -> Tensor:
    """Return the means of the features that `sum_into_slices` summed."""
    return sums[..., :-1] / (sums[..., -1:] + eps)


def attend_slices(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    dropout: float = 0.0,
    seed: Tensor | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Return the attention of slices to each other, each ``(batch, heads, slices, head_dim)``.

    Args:
        queries: Queries of the slices.
        keys: Their keys.
        values: Their values.
        dropout: Probability of dropping a weight; which ones follows from their positions, the
            same as in the form that streams.
        seed: Decides which; drawn from torch's generator where it is None.
        backend: Kernel, as `noether_core.nn.attend` takes it.
    """
    if dropout:
        seed = draw_seed(queries.device) if seed is None else seed
        return _attend_dropping(queries, keys, values, dropout, seed)

    # Fused kernels have no derivatives in forward mode, which `torch.func` may compute.
    if backend == "auto" and not torch.compiler.is_compiling() and is_transformed():
        backend = "math"
    return attend(queries, keys, values, backend=backend)


def _attend_dropping(
    queries: Tensor, keys: Tensor, values: Tensor, dropout: float, seed: Tensor
) -> Tensor:
    """Return the attention of slices to each other with some of its weights dropped."""
    if queries.dtype == torch.float16:  # which products of queries and keys exceed
        with without_autocast(queries.device):
            given = queries.float(), keys.float(), values.float()
            wide = _attend_dropping(*given, dropout, seed)
            return wide.to(values.dtype)

    logits = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    weights = logits.softmax(dim=-1)
    return drop_slice_weights(weights, dropout, seed) @ values


def drop_slice_weights(weights: Tensor, dropout: float, seed: Tensor) -> Tensor:
    """Drop weights among slices, ``(batch, heads, slices, slices)``, or their gradients.

    One seed drops the same ones.
    """
    rows = torch.arange(weights[..., 0].numel(), device=weights.device)
    return dropout_at(weights.flatten(0, -2), dropout, seed, rows).view_as(weights)


def read_slices(weights: Tensor, slices: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
    """Return what tokens get of the slices by the weights that they gave, ``sum_g w_ng o_g``.

    Wu et al., Transolver, 2024 (arXiv 2402.02366), equation 4.

    Args:
        weights: ``(batch, heads, tokens, slices)``.
        slices: ``(batch, heads, slices, head_dim)``.
        key_padding_mask: As in `gather_slices`. Padding gets zeros.

    Returns:
        ``(batch, heads, tokens, head_dim)``.
    """
    # Weights of half precision that were widened stay wide, and so do their gradients.
    if slices.dtype == torch.float16 and weights.dtype == torch.float32:
        read = exact_product(weights, slices.float()).to(slices.dtype)
    else:
        read = weights @ slices
    if key_padding_mask is not None:
        read = read.masked_fill(~key_padding_mask[:, None, :, None], 0.0)
    return read
