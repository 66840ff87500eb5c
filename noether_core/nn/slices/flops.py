"""How many operations attention through slices takes, tile by tile, as torch's counter asks.

Products of matrices count, as they do there: twice the numbers that are multiplied. What a pass
makes again counts again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from noether_core.nn.slices.plan import Operands, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPERANDS = len(Operands._fields)


class _Products(NamedTuple):
    """The operations of the products that the passes are made of."""

    rows: int
    """One of all tokens with a matrix ``(D, D)``."""

    states: int
    """That which makes the states; 0 where nothing is made from them."""

    features: int
    """That which makes the features of tokens; 0 where these are the states, or slices make them.
    """

    output: int
    """That with the output's weight; 0 where it is applied in the slices."""

    logits: int
    """That which makes the logits."""

    inner: int
    """That of the first layer of the temperatures; 0 without."""

    outer: int
    """That of the second."""

    slices: int
    """One of slice weights with what tokens or slices have."""

    folded: int
    """One of what slices have with the weights that are folded into them; 0 without."""

    qkv: int
    """That which makes queries, keys and values."""

    pairs: int
    """One of slices with slices."""

    cross_queries: int
    """That which makes queries for the context; 0, as the next are, without one."""

    crossing: int
    """One of slices with tokens of the context."""

    mixing: int
    """That which mixes what slices get of each other and of the context; 0 without."""

    @property
    def weights(self) -> int:
        """Those that make slice weights."""
        return self.inner + self.outer + self.logits


def forward_flops(*given: Any, **_: Any) -> int:
    """Return the operations of the forward pass.

    Args:
        given: What the operator takes, with shapes in the place of tensors.
    """
    own = _products(given)
    return gather_flops(*given) + _mix(own) + read_flops(None, *given) - own.states


def backward_flops(*given: Any, **_: Any) -> int:
    """Return the operations of the backward pass.

    Args:
        given: What its operator takes, with shapes in the place of tensors: the gradient and the
            sums, then what the operator of the forward pass takes.
    """
    own = _products(given[3:])
    read = own.states + own.weights + own.slices + own.output
    if own.output:
        read += own.slices + own.rows  # what tokens read, for the gradient of the output's weight

    mix = 4 * own.pairs + 2 * own.qkv + 4 * own.folded
    mix += 4 * own.crossing + 2 * own.cross_queries + 2 * own.mixing
    weights = own.weights + own.output + own.features + 2 * own.slices
    sources = own.slices + 2 * own.features
    return read + _mix(own) + mix + weights + _through_weights(own) + sources


def gather_flops(*given: Any, **_: Any) -> int:
    """Return the operations of the forward pass of gathering; it takes what the operator takes."""
    own = _products(given)
    return own.states + own.weights + own.features + own.slices


def gather_backward_flops(*given: Any, **_: Any) -> int:
    """Return those of its backward pass, which is given two gradients first."""
    own = _products(given[2:])
    weights = own.states + own.weights + own.features + own.slices
    return weights + _through_weights(own) + own.slices + 2 * own.features


def read_flops(*given: Any, **_: Any) -> int:
    """Return the operations of the forward pass of reading, which is given slices first."""
    own = _products(given[1:])
    return own.states + own.weights + own.slices + own.output


def read_backward_flops(*given: Any, **_: Any) -> int:
    """Return those of its backward pass, which is given the gradient and slices first."""
    own = _products(given[2:])
    weights = own.states + own.weights + own.output + 2 * own.slices
    if own.output:
        weights += own.slices + own.rows  # what tokens read, for the gradient of its weight
    return weights + _through_weights(own)


def _through_weights(own: _Products) -> int:
    """Return the operations from the gradients of slice weights to those of tokens."""
    return 2 * own.inner + 2 * own.logits + 2 * own.states


def _mix(own: _Products) -> int:
    """Return the operations of attention among the slices, forward."""
    of_context = own.cross_queries + 2 * own.crossing + own.mixing
    return own.qkv + 2 * own.pairs + 2 * own.folded + of_context


def _products(given: Sequence[Any]) -> _Products:
    operands: Any = Operands._make(given[:_OPERANDS])  # of shapes
    settings = Settings._make(given[_OPERANDS:])
    batch, tokens, width = operands.x
    heads, source, slices = operands.logit_weight
    head_dim = width // heads

    is_folded = operands.folded_feature_weight is not None
    of_slice = width if is_folded else head_dim
    features = 0 if operands.feature_weight is None else 1
    inner = 0 if operands.inner_weight is None else operands.inner_weight[0]
    rows = batch * tokens
    per_head = rows * settings.num_heads
    each_slice = batch * settings.num_heads * slices
    context = 0 if operands.context_keys is None else operands.context_keys[2]
    query_width = 0 if operands.context_query_weight is None else head_dim
    mixed_width = 0 if operands.mixing_weight is None else operands.mixing_weight[1]

    return _Products(
        rows=_flops(rows, width, width),
        states=0 if operands.state_weight is None else _flops(rows, width, width),
        features=features * _flops(rows, width, width),
        output=0 if is_folded else _flops(rows, width, width),
        logits=_flops(per_head, source, slices),
        inner=_flops(per_head, head_dim, inner),
        outer=_flops(per_head, inner),
        slices=_flops(per_head, slices, of_slice),
        folded=_flops(each_slice, width, head_dim) if is_folded else 0,
        qkv=_flops(each_slice, head_dim, 3 * head_dim),
        pairs=_flops(each_slice, slices, head_dim),
        cross_queries=_flops(each_slice, head_dim, query_width),
        crossing=_flops(each_slice, context, head_dim),
        mixing=_flops(each_slice, mixed_width, head_dim),
    )


def _flops(*sizes: int) -> int:
    """Return the operations of a product of matrices, from the sizes that it runs through."""
    return 2 * math.prod(sizes)
