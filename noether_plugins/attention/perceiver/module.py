"""The module of cross-attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from noether_core import AttentionConfig, ShapeError, structure
from noether_core.errors import UnsupportedArgumentError
from noether_core.nn import (
    Frequencies,
    KeyValues,
    KVCache,
    RMSNorm,
    StructuredMask,
    accept_fused_,
    attend,
    check_attn_mask,
    check_freqs,
    check_key_padding_mask,
    check_tokens,
    combine_masks,
    init_weights_,
    merge_heads,
    project_heads,
)
from noether_core.nn.operators import dtype_of_results
from noether_core.nn.partial_attention import KeyChunk, attend_to_chunks
from noether_core.nn.streaming import chunks_of
from noether_plugins.attention.perceiver.call import Call, Tokens, take_keys, take_queries
from noether_plugins.attention.perceiver.chunks import Chunks, chunks_of_call
from noether_plugins.attention.perceiver.config import PerceiverAttentionConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_GROUP = "kv"
"""Name under which a cache keeps the tokens that are read."""

_CACHED_ALREADY = {
    "k_freqs": "kv is None, and frequencies rotate its tokens; cached keys are rotated already",
    "key_padding_mask": "kv is None, and the mask is that of its tokens; the cache keeps its own",
}
"""What belongs to the tokens of *kv*, and why a call that attends to cached ones has none of it."""


class PerceiverAttention(nn.Module):
    """Every query token reads every token of another set, weighted by the likeness of its query and
    their keys.

    ``proj(merge(softmax(q k^T / sqrt(d)) v))``, with queries from one set of tokens, keys and
    values from another. With ``qk_norm``, queries and keys are divided by their root mean square;
    with ``use_rope``, they are then rotated by their position.

    Where no gradient is needed, many tokens are computed chunk by chunk: queries in turn, and of
    many keys each chunk as well, merged exactly. Beyond tokens and result, memory then does not
    grow with the number of either.

    Jaegle et al., Perceiver, 2021 (arXiv 2103.03206). This is its cross-attention alone:
    normalisation, residual and MLP around it are the caller's.

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
        self.backend, self.chunk_size = self.config.backend, self.config.chunk_size

        bias = self.config.bias
        self.q = nn.Linear(hidden_dim, hidden_dim, bias=bias)
        self.k, self.v = (nn.Linear(self.kv_dim, hidden_dim, bias=bias) for _ in range(2))
        self.proj = nn.Linear(hidden_dim, hidden_dim, bias=bias)
        self.q_norm, self.k_norm = (
            RMSNorm(self.head_dim) if self.config.qk_norm else None for _ in range(2)
        )
        init_weights_(self, self.config.init_weights, output=self.proj)
        accept_fused_(self, fused="kv", parts=("k", "v"))

    def forward(
        self,
        q: Tensor,
        kv: Tensor | None,
        *,
        attn_mask: Tensor | StructuredMask | None = None,
        key_padding_mask: Tensor | None = None,
        q_freqs: Frequencies | None = None,
        k_freqs: Frequencies | None = None,
        kv_cache: KVCache | None = None,
    ) -> Tensor:
        """Let every query token read the tokens that the masks leave it; one that they leave none
        reads zeros.

        Args:
            q: ``(batch, queries, hidden_dim)``.
            kv: ``(batch, keys, kv_dim)``; None to read the keys and values that *kv_cache* holds.
            attn_mask: Broadcasts to ``(batch, num_heads, queries, keys)``. Booleans, True where a
                query reads a key; or numbers added to the logits. Two axes are always those of
                queries and keys. Or `Causal`, `SlidingWindow` or `Packed`, which are never written
                out.
            key_padding_mask: ``(batch, keys)`` booleans, True for real tokens of *kv*. Padding is
                read by no token.
            q_freqs: What `RopeFrequency` returns for the tokens of *q*; exactly if ``use_rope``.
            k_freqs: The same for the tokens of *kv*; exactly if ``use_rope`` and they are not
                cached.
            kv_cache: Filled with the keys, values and padding of *kv*; read where *kv* is None.

        Returns:
            ``(batch, queries, hidden_dim)``.

        Raises:
            ShapeError: If a tensor is missing, or has another shape, dtype or device than it needs.
            CacheError: If the cache holds nothing, what does not fit *q*, or what another module
                made.
            UnsupportedArgumentError: If frequencies are given without ``use_rope``, or *k_freqs* or
                *key_padding_mask* without *kv*.
            UnsupportedBackendError: If the backend cannot serve the call.
        """
        check_tokens(q, self.hidden_dim, name="q")
        check_freqs(
            q_freqs, q, self.head_dim, variant="perceiver", use_rope=self.use_rope, name="q_freqs"
        )
        if kv is not None:
            check_tokens(kv, self.kv_dim, name="kv", beside=q)
            check_key_padding_mask(key_padding_mask, kv)
            check_freqs(
                k_freqs,
                kv,
                self.head_dim,
                variant="perceiver",
                use_rope=self.use_rope,
                name="k_freqs",
            )
        else:
            _check_cached_only(k_freqs, key_padding_mask)
        dropout = self.dropout if self.training else 0.0

        answering = None if kv is None else Tokens(kv, k_freqs, key_padding_mask)
        call = Call(Tokens(q, q_freqs), answering, attn_mask, kv_cache)
        chunks = None if dropout else chunks_of_call(self, call)
        if chunks is not None:
            return self._stream(call, chunks)

        queries = self._ask(call.asking)
        keys, values, real = self._answers(call, queries)
        read = attend(
            queries,
            keys,
            values,
            attn_mask=attn_mask,
            key_padding_mask=real,
            dropout=dropout,
            backend=self.backend,
        )

        y: Tensor = self.proj(merge_heads(read))
        return functional.dropout(y, dropout) if dropout else y

    def _ask(self, asking: Tokens) -> Tensor:
        """Return the queries of tokens."""
        return project_heads(asking.x, self.q, self.num_heads, norm=self.q_norm, freqs=asking.freqs)

    def _answer(self, answering: Tokens) -> KeyValues:
        """Return what tokens that are read answer with."""
        keys = project_heads(
            answering.x, self.k, self.num_heads, norm=self.k_norm, freqs=answering.freqs
        )
        return KeyValues(keys, project_heads(answering.x, self.v, self.num_heads), answering.real)

    def _answers(self, call: Call, queries: Tensor) -> KeyValues:
        """Return all that *queries* of a call read, from its tokens or its cache; the former fill
        the cache.
        """
        group = (
            self._cached(call.cache, queries)
            if call.answering is None
            else self._answer(call.answering)
        )
        check_attn_mask(call.attn_mask, call.asking.x, group.keys.transpose(1, 2), self.num_heads)
        if call.answering is not None and call.cache is not None:
            call.cache.store(self, _GROUP, group)
        return group

    def _cached(self, cache: KVCache | None, queries: Tensor) -> KeyValues:
        if cache is None:
            raise ShapeError(
                f"kv: got None, wanted (batch, keys, {self.kv_dim}), or a kv_cache that an earlier call filled"
            )
        return cache.read(self, _GROUP, queries)

    def _stream(self, call: Call, chunks: Chunks) -> Tensor:
        """Return the result of a call, made of chunks of queries, and for each of these of chunks
        of keys.
        """
        x = call.asking.x
        read = self._reader(call, chunks)
        mask = combine_masks(call.attn_mask, None) if isinstance(call.attn_mask, Tensor) else None
        y = x.new_empty(x.shape, dtype=dtype_of_results(x))
        for span in chunks_of([slice(0, x.shape[1])], chunks.queries):
            queries = self._ask(call.asking.take(span))
            y[:, span] = self.proj(merge_heads(read(queries, take_queries(mask, span))))
        return y

    def _reader(self, call: Call, chunks: Chunks) -> Callable[[Tensor, Tensor | None], Tensor]:
        """Return the attention of queries, under their mask over pairs, to what a call answers."""
        answering, size = call.answering, chunks.keys
        if answering is None or size is None:
            nobody = self._ask(call.asking.take(slice(0, 0)))
            keys, values, real = self._answers(call, nobody)
            return lambda queries, mask: attend(
                queries, keys, values, attn_mask=mask, key_padding_mask=real, backend=self.backend
            )

        check_attn_mask(call.attn_mask, call.asking.x, answering.x, self.num_heads)
        return lambda queries, mask: attend_to_chunks(
            queries, self._key_chunks(answering, mask, size), backend=self.backend
        )

    def _key_chunks(self, answering: Tokens, mask: Tensor | None, size: int) -> Iterator[KeyChunk]:
        """Yield the keys and values of *size* tokens after the other."""
        for span in chunks_of([slice(0, answering.x.shape[1])], size):
            keys, values, real = self._answer(answering.take(span))
            yield KeyChunk(keys, values, combine_masks(take_keys(mask, span), real))


def _check_cached_only(k_freqs: Frequencies | None, key_padding_mask: Tensor | None) -> None:
    """Check that nothing is said of the tokens of *kv* where there are none."""
    for name, value in (("k_freqs", k_freqs), ("key_padding_mask", key_padding_mask)):
        if value is not None:
            raise UnsupportedArgumentError("perceiver", name, _CACHED_ALREADY[name])
