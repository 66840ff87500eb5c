"""The module of sliding-window attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from acme_window.config import WindowAttentionConfig
from noether_core import AttentionConfig, structure
from noether_core.nn import (
    Frequencies,
    RMSNorm,
    attend,
    check_freqs,
    check_key_padding_mask,
    check_tokens,
    init_weights_,
    merge_heads,
    rotate,
    split_heads,
    zero_padding,
)


class WindowAttention(nn.Module):
    """Every token attends to the tokens at most ``window`` positions away from it.

    ``softmax(q_i k_j^T / sqrt(d))`` over the keys with ``|i - j| <= window``, in each head of width
    ``d`` by itself. Queries are taken in blocks of ``window`` tokens, and a block attends to itself
    and its two neighbours under a mask that cuts the band out, so time and memory grow with tokens
    times window.

    Beltagy et al., Longformer, 2020 (arXiv 2004.05150), section 3.1, without dilation and without
    global tokens.

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = structure(config, WindowAttentionConfig)
        self.hidden_dim = self.config.hidden_dim
        self.num_heads = self.config.num_heads
        self.head_dim = self.config.head_dim
        self.window = self.config.window
        self.use_rope = self.config.use_rope
        self.dropout = self.config.dropout

        self.q, self.k, self.v, self.proj = (
            nn.Linear(self.hidden_dim, self.hidden_dim, bias=self.config.bias) for _ in range(4)
        )
        self.q_norm, self.k_norm = (
            RMSNorm(self.head_dim) if self.config.qk_norm else nn.Identity() for _ in range(2)
        )
        init_weights_(self, self.config.init_weights, output=self.proj)

    def forward(
        self,
        x: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        freqs: Frequencies | None = None,
    ) -> Tensor:
        """Let every token attend to its neighbours.

        One whose neighbours are all padding gets zeros.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. No token attends
                to padding; it still attends, so its own rows of the result mean nothing.
            freqs: What `RopeFrequency` returns for the tokens; exactly if ``use_rope``.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs, or *freqs* are
                missing.
        """
        check_tokens(x, self.hidden_dim)
        check_key_padding_mask(key_padding_mask, x)
        check_freqs(freqs, x, self.head_dim, variant="acme_window", use_rope=self.use_rope)
        x = zero_padding(x, key_padding_mask)
        freqs = zero_padding(freqs, key_padding_mask)

        queries = self.q_norm(split_heads(self.q(x), self.num_heads))
        keys = self.k_norm(split_heads(self.k(x), self.num_heads))
        values = split_heads(self.v(x), self.num_heads)

        if freqs is not None:
            queries, keys = rotate(queries, freqs), rotate(keys, freqs)

        real = key_padding_mask
        if real is None:
            real = x.new_ones(x.shape[:2], dtype=torch.bool)
        dropout = self.dropout if self.training else 0.0
        heads = _attend_in_window(
            queries, keys, values, real=real, window=self.window, dropout=dropout
        )
        return functional.dropout(self.proj(merge_heads(heads)), self.dropout, self.training)


def _attend_in_window(
    queries: Tensor, keys: Tensor, values: Tensor, *, real: Tensor, window: int, dropout: float
) -> Tensor:
    """Return the result of every query over the keys at most *window* positions away.

    Args:
        queries: ``(batch, heads, tokens, head_dim)``.
        keys: Likewise.
        values: Likewise.
        real: ``(batch, tokens)`` booleans, False for keys that nobody attends to.
        window: Keys on either side of a query.
        dropout: Probability of dropping a weight.

    Returns:
        ``(batch, heads, tokens, head_dim)``.
    """
    batch, heads, tokens, width = queries.shape
    # Never one or none, which compilers would make graphs of their own for.
    count = tokens // window + 2

    # Every block is an entry of the batch, so that one call attends in all of them.
    result = attend(
        _blocks(queries, window, count),
        _blocks(keys, window, count, margin=window),
        _blocks(values, window, count, margin=window),
        attn_mask=_band(window, queries.device),
        key_padding_mask=_blocks(real[:, None, :, None], window, count, margin=window)[:, 0, :, 0],
        dropout=dropout,
    )
    result = result.reshape(batch, count, heads, window, width).transpose(1, 2).flatten(2, 3)
    return functional.pad(result, (0, 0, 0, tokens - count * window))


def _blocks(x: Tensor, size: int, count: int, margin: int = 0) -> Tensor:
    """Return *x* cut into blocks of *size* tokens, each between margins of its neighbours.

    Args:
        x: ``(batch, heads, tokens, width)``.
        size: Tokens of a block.
        count: Number of blocks. Positions behind the last token hold zeros, or False.
        margin: Tokens on either side. Positions before the first token hold zeros, or False.

    Returns:
        ``(batch * count, heads, margin + size + margin, width)``.
    """
    padded = functional.pad(x, (0, 0, margin, margin + count * size - x.shape[2]))
    return padded.unfold(2, size + 2 * margin, size).permute(0, 2, 1, 4, 3).flatten(0, 1)


def _band(window: int, device: torch.device) -> Tensor:
    """Return which keys of a block with its margins each of its queries attends to.

    ``(window, 3 * window)`` booleans.
    """
    positions = torch.arange(3 * window, device=device)
    return (positions[window : 2 * window, None] - positions).abs() <= window
