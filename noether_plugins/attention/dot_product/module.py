"""The module of dot-product attention."""

from __future__ import annotations

from torch import Tensor

from noether_core import AttentionConfig, structure
from noether_core.nn import (
    Frequencies,
    QKVAttention,
    StructuredMask,
    attend,
    check_attn_mask,
    check_freqs,
    check_key_padding_mask,
    check_tokens,
    zero_padding,
)
from noether_plugins.attention.dot_product.config import DotProductAttentionConfig


class DotProductAttention(QKVAttention):
    """Every token attends to every token, weighted by the likeness of its query and their keys.

    ``proj(merge(softmax(q k^T / sqrt(d)) v))``, the softmax in each head of width ``d`` by itself.
    With ``qk_norm``, queries and keys are divided by their root mean square; with ``use_rope``,
    they are then rotated by their position.

    Vaswani et al., Attention Is All You Need, 2017 (arXiv 1706.03762). The paper has neither norm
    nor rotation.

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    def __init__(self, config: AttentionConfig) -> None:
        own = structure(config, DotProductAttentionConfig)
        super().__init__(own)
        self.backend = own.backend

    def forward(
        self,
        x: Tensor,
        *,
        attn_mask: Tensor | StructuredMask | None = None,
        key_padding_mask: Tensor | None = None,
        freqs: Frequencies | None = None,
    ) -> Tensor:
        """Let every token attend to the tokens that the masks leave it.

        One that they leave none gets zeros.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            attn_mask: Broadcasts to ``(batch, num_heads, tokens, tokens)``, queries before keys.
                Booleans, True where a query attends to a key; or numbers added to the logits. Two
                axes are always those of queries and keys. Or `Causal`, `SlidingWindow` or `Packed`,
                which are never written out.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. No token attends
                to padding; padding still attends, so its own rows of the result mean nothing.
            freqs: What `RopeFrequency` returns for the tokens; exactly if ``use_rope``.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs, or *freqs* are
                missing.
            UnsupportedArgumentError: If *freqs* are given without ``use_rope``.
            UnsupportedBackendError: If the backend cannot serve the call.
        """
        check_tokens(x, self.hidden_dim, layer=self.q)
        check_attn_mask(attn_mask, x, x, self.num_heads)
        check_key_padding_mask(key_padding_mask, x)
        check_freqs(freqs, x, self.head_dim, variant="dot_product", use_rope=self.use_rope)
        if key_padding_mask is not None:
            x = zero_padding(x, key_padding_mask)
            freqs = zero_padding(freqs, key_padding_mask)
        dropout = self.dropout if self.training else 0.0  # of weights; that of the output is below

        queries = self.project_queries(x, freqs)
        keys = self.project_keys(x, freqs)
        values = self.project_values(x)

        heads = attend(
            queries,
            keys,
            values,
            attn_mask=attn_mask,
            key_padding_mask=key_padding_mask,
            dropout=dropout,
            backend=self.backend,
        )

        return self.project_output(heads)
