"""What belongs to tokens that fall into equal shares, as entries of a batch; their heads
`split_heads` shares out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from noether_core.nn import Frequencies


def share_out(tokens: Tensor, shares: int) -> Tensor:
    """Give every share an entry of the batch.

    Args:
        tokens: ``(batch, shares * tokens, ...)``, what is told of each token.
        shares: Number of shares, one behind the other.

    Returns:
        ``(batch * shares, tokens, ...)``, a view where *tokens* are contiguous.
    """
    batch, count, *rest = tokens.shape
    return tokens.reshape(batch * shares, count // shares, *rest)


def share_out_freqs(freqs: Frequencies, batch: int, shares: int) -> Frequencies:
    """Give every share of the frequencies, ``(..., shares * tokens, width)``, an entry of the
    batch.
    """
    if isinstance(freqs, Tensor):
        return share_out(freqs.expand(batch, *freqs.shape[-2:]), shares)
    return tuple(share_out(angles.expand(batch, *angles.shape[-2:]), shares) for angles in freqs)
