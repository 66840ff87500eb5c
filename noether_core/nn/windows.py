"""Attention in which a query reads the keys around its own place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from noether_core.nn.kernels import Kernel
    from noether_core.nn.structured_masks import SlidingWindow

_BLOCK: Final = 128
"""Fewest queries of a block; with fewer of them, kernels are called for too little."""


def attend_in_windows(
    window: SlidingWindow,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    real: Tensor | None,
    kernel: Kernel,
    dropout: float,
    scale: float | None,
) -> Tensor:
    """Attend under `SlidingWindow`; arguments as `noether_core.nn.attend` takes them.

    Blocks of queries attend, all in one call, to the keys that any query of the block reads. Blocks
    of half a window read at most three times as many keys as there are.
    """
    reach = window.before + window.after
    block = max(_BLOCK, reach // 2)
    width = block + reach
    tokens = queries.shape[2]
    # A graph serves every number of tokens, so that it cannot ask for it.
    if not torch.compiler.is_compiling() and (tokens == 0 or width >= keys.shape[2]):
        mask = _band(tokens, keys.shape[2], window.before, window.after, queries.device)[None, None]
        mask = mask if real is None else mask & real[:, None, None]
        return kernel(queries, keys, values, mask, dropout, scale=scale)

    # With one window or many, graphs would differ.
    count = tokens // block + 2 if torch.compiler.is_compiling() else -(-tokens // block)
    margins = (window.before, count * block + window.after - keys.shape[2])
    mask = _band(block, width, 0, reach, queries.device) & _real_in_windows(
        keys, real, margins, width, block
    )
    mask = mask.flatten(0, 1).unsqueeze(1)

    read = kernel(
        _in_windows(queries, (0, count * block - tokens), block, block),
        _in_windows(keys, margins, width, block),
        _in_windows(values, margins, width, block),
        mask,
        dropout,
        scale=scale,
    )

    batch, heads = queries.shape[:2]
    tokens_first = read.transpose(1, 2).reshape(batch, count * block, heads, values.shape[-1])
    return functional.pad(tokens_first, (0, 0, 0, 0, 0, tokens - count * block)).transpose(1, 2)


def _in_windows(x: Tensor, margins: tuple[int, int], width: int, step: int) -> Tensor:
    """Return the tokens of *x* in windows that are entries of a batch.

    Args:
        x: ``(batch, heads, tokens, head_dim)``.
        margins: Tokens that are put before and behind the others, and if negative are taken away.
        width: Tokens of a window.
        step: Tokens from the start of one window to that of the next.

    Returns:
        ``(batch * windows, heads, width, head_dim)``.
    """
    tokens_first = functional.pad(x.transpose(1, 2), (0, 0, 0, 0, *margins))
    return tokens_first.unfold(1, width, step).transpose(-2, -1).flatten(0, 1)


def _real_in_windows(
    keys: Tensor, real: Tensor | None, margins: tuple[int, int], width: int, step: int
) -> Tensor:
    """Return which keys of each window are there and real, ``(batch, windows, 1, width)``."""
    if real is None:
        real = torch.ones(keys.shape[0], keys.shape[2], dtype=torch.bool, device=keys.device)
    return functional.pad(real, margins).unfold(1, width, step).unsqueeze(2)


def _band(queries: int, keys: int, before: int, after: int, device: torch.device) -> Tensor:
    """Return ``(queries, keys)`` booleans: whether a key stands so near to the place of a query."""
    distance = torch.arange(keys, device=device) - torch.arange(queries, device=device)[:, None]
    return (distance >= -before) & (distance <= after)
