"""The module of cross-attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from noether_core import AttentionConfig, ShapeError, structure
from noether_core.nn import (
    Frequencies,
    KeyValues,
    KVCache,
    RMSNorm,
    accept_fused_,
    attend,
    check_attn_mask,
    check_freqs,
    check_key_padding_mask,
    check_tokens,
    init_weights_,
    merge_heads,
    project_heads,
    refuse_arguments,
)
from noether_plugins.attention.perceiver.config import PerceiverAttentionConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

_GROUP = "kv"
"""Name under which a cache keeps the tokens that are read."""

_REFUSED_WITHOUT_KV: Mapping[str, str] = {
    "k_freqs": "kv is None, and frequencies rotate its tokens; cached keys are rotated already",
    "key_padding_mask": "kv is None, and the mask speaks of its tokens; the cache keeps the mask of its own",
}


class PerceiverAttention(nn.Module):
    """Every query token reads every token of another set, weighted by the likeness of its query and their keys.

    ``proj(merge(softmax(q k^T / sqrt(d)) v))``, with queries from one set of tokens, keys and values from another. With
    ``qk_norm``, queries and keys are divided by their root mean square; with ``use_rope``, they are then rotated by
    their position.

    Jaegle et al., Perceiver, 2021 (arXiv 2103.03206). This is its cross-attention alone: normalisation,
    residual and MLP around it are the caller's.

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = structure(config, PerceiverAttentionConfig)
        self.hidden_dim = hidden_dim = self.config.hidden_dim
        self.kv_dim = hidden_dim if self.config.kv_dim is None else self.config.kv_dim
        self.num_heads = self.config.num_heads
        self.head_dim = self.config.head_dim
        self.use_rope = self.config.use_rope
        self.dropout = self.config.dropout

        bias = self.config.bias
        self.q = nn.Linear(hidden_dim, hidden_dim, bias=bias)
        self.k, self.v = (nn.Linear(self.kv_dim, hidden_dim, bias=bias) for _ in range(2))
        self.proj = nn.Linear(hidden_dim, hidden_dim, bias=bias)
        self.q_norm, self.k_norm = (RMSNorm(self.head_dim) if self.config.qk_norm else None for _ in range(2))
        init_weights_(self, self.config.init_weights, output=self.proj)
        accept_fused_(self, fused="kv", parts=("k", "v"))

    def forward(
        self,
        q: Tensor,
        kv: Tensor | None,
        *,
        attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        q_freqs: Frequencies | None = None,
        k_freqs: Frequencies | None = None,
        kv_cache: KVCache | None = None,
    ) -> Tensor:
        """Let every query token read the tokens that the masks leave it; one that they leave none reads zeros.

        Args:
            q: ``(batch, queries, hidden_dim)``.
            kv: ``(batch, keys, kv_dim)``; None to read the keys and values that *kv_cache* holds.
            attn_mask: Broadcasts to ``(batch, num_heads, queries, keys)``. Booleans, True where a query reads a key; or
                numbers added to the logits. Two axes are always those of queries and keys.
            key_padding_mask: ``(batch, keys)`` booleans, True for real tokens of *kv*. Padding is read by no token.
            q_freqs: What `RopeFrequency` returns for the tokens of *q*; exactly if ``use_rope``.
            k_freqs: The same for the tokens of *kv*; exactly if ``use_rope`` and they are not cached.
            kv_cache: Filled with the keys, values and padding of *kv*; read where *kv* is None.

        Returns:
            ``(batch, queries, hidden_dim)``.

        Raises:
            ShapeError: If a tensor is missing, or has another shape, dtype or device than it needs.
            CacheError: If the cache holds nothing, what does not fit *q*, or what another module made.
            UnsupportedArgumentError: If an argument cannot be honoured.
        """
        check_tokens(q, self.hidden_dim, name="q")
        check_freqs(q_freqs, q, self.head_dim, variant="perceiver", use_rope=self.use_rope, name="q_freqs")
        dropout = self.dropout if self.training else 0.0

        queries = project_heads(q, self.q, self.num_heads, norm=self.q_norm, freqs=q_freqs)

        if kv is not None:
            check_tokens(kv, self.kv_dim, name="kv", beside=q)
            group = self._key_values(kv, key_padding_mask, k_freqs)
        else:
            refuse_arguments("perceiver", _REFUSED_WITHOUT_KV, k_freqs=k_freqs, key_padding_mask=key_padding_mask)
            group = self._cached(kv_cache, queries)
        check_attn_mask(attn_mask, q, group.keys.transpose(1, 2), self.num_heads)
        if kv is not None and kv_cache is not None:
            kv_cache.store(self, _GROUP, group)

        read = attend(
            queries, group.keys, group.values, attn_mask=attn_mask, key_padding_mask=group.real, dropout=dropout
        )

        y: Tensor = self.proj(merge_heads(read))
        return functional.dropout(y, dropout) if dropout else y

    def _cached(self, cache: KVCache | None, queries: Tensor) -> KeyValues:
        if cache is None:
            raise ShapeError(
                f"kv: got None, wanted (batch, keys, {self.kv_dim}), or a kv_cache that an earlier call filled"
            )
        return cache.read(self, _GROUP, queries)

    def _key_values(self, kv: Tensor, real: Tensor | None, freqs: Frequencies | None) -> KeyValues:
        """Return what the tokens that are read answer with."""
        check_key_padding_mask(real, kv)
        check_freqs(freqs, kv, self.head_dim, variant="perceiver", use_rope=self.use_rope, name="k_freqs")
        keys = project_heads(kv, self.k, self.num_heads, norm=self.k_norm, freqs=freqs)
        return KeyValues(keys, project_heads(kv, self.v, self.num_heads), real)
