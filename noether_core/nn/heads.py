"""From features to heads and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Give every head its own contiguous share of the features.

    Args:
        x: ``(batch, tokens, num_heads * head_dim)``; head ``h`` owns the features from ``h * head_dim`` on.
        num_heads: Number of heads; divides the width of *x*.

    Returns:
        ``(batch, num_heads, tokens, head_dim)``, a view where the layout of *x* allows it.
    """
    batch, tokens, width = x.shape
    return x.reshape(batch, tokens, num_heads, width // num_heads).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """Undo `split_heads`.

    Args:
        x: ``(batch, num_heads, tokens, head_dim)``.

    Returns:
        ``(batch, tokens, num_heads * head_dim)``.
    """
    batch, num_heads, tokens, head_dim = x.shape
    return x.transpose(1, 2).reshape(batch, tokens, num_heads * head_dim)
