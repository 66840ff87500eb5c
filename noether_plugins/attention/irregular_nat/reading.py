"""Attention of every token to a few others, at once or chunk by chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from noether_core.nn.operators import is_transformed
from noether_plugins.attention.irregular_nat.at_once import read_at_once
from noether_plugins.attention.irregular_nat.operation import read_in_chunks

if TYPE_CHECKING:
    from torch import Tensor

    from noether_plugins.attention.irregular_nat.tokens import Reading, RelposWeights, Tokens

_AT_ONCE = 1 << 20
"""Numbers of gathered keys, or of inner features, up to which everything is read at once."""


def read_neighbours(tokens: Tokens, weights: RelposWeights, reading: Reading) -> Tensor:
    """Return what every token reads from its neighbours, ``(tokens, hidden_dim)``; one without any
    reads zeros.

    ``softmax(q_i k_j^T / sqrt(d) + b(p_j - p_i)) v_j`` over the neighbours ``j`` of token ``i``, in
    every head. Beyond a million gathered numbers, and in compiled graphs, tokens are read chunk by
    chunk, so that memory grows with the tokens alone. Within transforms of ``torch.func``, and for
    derivatives in forward mode, they are read at once, however many there are.

    Raises:
        DerivativeError: If a second derivative is asked for of more than is read at once.
    """
    is_whole = is_transformed() or (
        not torch.compiler.is_compiling() and _is_small(tokens, weights, reading)
    )
    return (read_at_once if is_whole else read_in_chunks)(tokens, weights, reading)


def _is_small(tokens: Tokens, weights: RelposWeights, reading: Reading) -> bool:
    width = max(tokens.keys.shape[1], weights.inner.shape[0])
    return reading.neighbours.numel() * width <= _AT_ONCE
