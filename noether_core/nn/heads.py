"""From features to heads and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noether_core.nn.rope import rotate

if TYPE_CHECKING:
    from torch import Tensor, nn

    from noether_core.nn.rope import Frequencies


def split_heads(x: Tensor, num_heads: int, *, shares: int = 1) -> Tensor:
    """Give every head its own contiguous share of the features.

    Args:
        x: ``(batch, tokens, num_heads * head_dim)``; head ``h`` owns the features from ``h *
            head_dim`` on.
        num_heads: Number of heads; divides the width of *x*.
        shares: Into how many equal shares the tokens fall, one behind the other; each becomes an
            entry of the batch.

    Returns:
        ``(batch * shares, num_heads, tokens / shares, head_dim)``, a view where the layout of *x*
        allows it.
    """
    batch, tokens, width = x.shape
    return x.reshape(batch * shares, tokens // shares, num_heads, width // num_heads).transpose(
        1, 2
    )


def merge_heads(x: Tensor, *, shares: int = 1) -> Tensor:
    """Undo `split_heads`.

    Args:
        x: ``(batch * shares, num_heads, tokens / shares, head_dim)``.
        shares: What `split_heads` was given.

    Returns:
        ``(batch, tokens, num_heads * head_dim)``.
    """
    entries, num_heads, tokens, head_dim = x.shape
    return x.transpose(1, 2).reshape(entries // shares, shares * tokens, num_heads * head_dim)


def project_heads(
    x: Tensor,
    layer: nn.Module,
    num_heads: int,
    *,
    norm: nn.Module | None = None,
    freqs: Frequencies | None = None,
    shares: int = 1,
) -> Tensor:
    """Return the queries, keys or values of every head: projected, then normalised, then rotated.

    Args:
        x: ``(batch, tokens, width)``.
        layer: Projects tokens to ``num_heads * head_dim`` features.
        num_heads: Number of heads.
        norm: Normalises each head over ``head_dim``, where it is given.
        freqs: What `RopeFrequency` returned for the tokens, where they are rotated; shared out as
            these are.
        shares: As in `split_heads`.

    Returns:
        ``(batch * shares, num_heads, tokens / shares, head_dim)``.
    """
    heads = split_heads(layer(x), num_heads, shares=shares)
    if norm is not None:
        heads = norm(heads)
    return heads if freqs is None else rotate(heads, freqs)
