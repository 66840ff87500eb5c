"""The module of cross-attention."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from torch import Tensor

from noether_core import AttentionConfig, ShapeError, TokenGroupError, structure
from noether_core.errors import UnsupportedArgumentError
from noether_core.nn import (
    Frequencies,
    KeyValues,
    KVCache,
    QKVAttention,
    StructuredMask,
    Summary,
    attend,
    check_attn_mask,
    check_freqs,
    check_key_padding_mask,
    check_kv_cache,
    check_summary,
    check_tokens,
    combine_masks,
    group_sizes,
    layout_of,
    zero_padding,
)
from noether_core.nn.domains import DomainRuns, by_domain, number_domains, runs_of
from noether_core.nn.dropped_attention import read_dropping
from noether_core.nn.groups import Layout
from noether_core.nn.noise import Drawing, seed_for
from noether_core.nn.operators import dtype_of_results
from noether_core.nn.partial_attention import KeyChunk, attend_to_chunks
from noether_core.nn.streaming import chunks_of, is_traced
from noether_core.nn.summaries import numbered
from noether_core.nn.tokens import Tokens
from noether_plugins.attention.perceiver.chunks import (
    Call,
    ChunkSizes,
    choose_chunk_sizes,
    take_keys,
    take_queries,
)
from noether_plugins.attention.perceiver.config import PerceiverAttentionConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from noether_core import TokenSpec

_GROUP = "kv"
"""Name under which a cache keeps keys and values."""

_CACHED_ALREADY = {
    "k_freqs": "kv is None, and frequencies rotate its tokens; cached keys are rotated already",
    "key_padding_mask": "kv is None, and the mask is that of its tokens; the cache keeps its own",
}
"""What belongs to the tokens of *kv*, and why a call that attends to cached ones has none of it."""


class PerceiverAttention(QKVAttention):
    """Every query token attends to every token of another set.

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

    config: PerceiverAttentionConfig

    rounds = 1
    """Times that `gather` goes over the tokens."""

    def __init__(self, config: AttentionConfig) -> None:
        own = structure(config, PerceiverAttentionConfig)
        kv_dim = own.hidden_dim if own.kv_dim is None else own.kv_dim
        # Given at any width, so that weights stacked into `kv` load, and not into `qkv`.
        super().__init__(own, kv_dim=kv_dim, num_types=own.num_types)
        self.kv_dim = kv_dim
        self.backend = own.backend

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
        token_specs: Sequence[TokenSpec] | None = None,
    ) -> Tensor:
        """Let every query token attend to the tokens that the masks leave it.

        One that they leave none gets zeros.

        Args:
            q: ``(batch, queries, hidden_dim)``.
            kv: ``(batch, keys, kv_dim)``; None to attend to the keys that *kv_cache* holds.
            attn_mask: Broadcasts to ``(batch, num_heads, queries, keys)``. Booleans, True where a
                query attends to a key; or numbers added to the logits. Two axes are always those of
                queries and keys. Or `Causal`, `SlidingWindow` or `Packed`, which are never written
                out.
            key_padding_mask: ``(batch, keys)`` booleans, True for real tokens of *kv*. No query
                attends to padding.
            q_freqs: What `RopeFrequency` returns for the tokens of *q*; exactly if ``use_rope``.
            k_freqs: The same for the tokens of *kv*; exactly if ``use_rope`` and they are not
                cached.
            kv_cache: Filled with the keys, values and padding of *kv*; read where *kv* is None.
            token_specs: The groups of *q*, one behind the other; required with ``num_types``, which
                gives those of each domain weights of their own. A group of size None is not in
                *q*, and only counts its domain.

        Returns:
            ``(batch, queries, hidden_dim)``.

        Raises:
            ShapeError: If a tensor is missing, or has another shape, dtype or device than it needs.
            CacheError: If the cache holds nothing, what does not fit *q*, or what another module
                made.
            TokenGroupError: If *token_specs* do not fit *q*, are missing, or are of more domains
                than ``num_types`` or of fewer.
            UnsupportedArgumentError: If frequencies are given without ``use_rope``, or *k_freqs* or
                *key_padding_mask* without *kv*.
            UnsupportedBackendError: If the backend cannot serve the call.
        """
        check_tokens(q, self.hidden_dim, name="q", layer=self.q)
        check_kv_cache(kv_cache)
        self._check_freqs(q_freqs, q, "q_freqs")
        if kv is None:
            _check_cached_only(k_freqs, key_padding_mask)
        else:
            check_tokens(kv, self.kv_dim, name="kv", beside=q, layer=self.k)
            check_key_padding_mask(key_padding_mask, kv)
            self._check_freqs(k_freqs, kv, "k_freqs")
        runs = self._runs(token_specs, q)

        dropout = self.dropout if self.training else 0.0
        attended = None if kv is None else Tokens(kv, k_freqs, key_padding_mask)
        call = Call(Tokens(q, q_freqs, runs=runs), attended, attn_mask, kv_cache)
        sizes = None if dropout else choose_chunk_sizes(self, self.config, call)
        if sizes is not None:
            return self._stream(call, sizes)

        queries = self._queries(call.queries)
        keys, values, real = self._keys_and_values(call, queries)

        heads = attend(
            queries,
            keys,
            values,
            attn_mask=attn_mask,
            key_padding_mask=real,
            dropout=dropout,
            backend=self.backend,
        )

        return self.project_output(heads, runs=runs)

    def gather(
        self,
        kv: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        k_freqs: Frequencies | None = None,
        first_token: int = 0,
        seed: Tensor | None = None,
    ) -> Summary:
        """Return the keys and values of tokens.

        Args:
            kv: ``(batch, keys, kv_dim)``.
            key_padding_mask: As in `forward`.
            k_freqs: As in `forward`.
            first_token: Number of the first token, where *kv* is a part of the tokens.
            seed: Decides what is dropped in training where they are read: the ``seed`` of another
                part's summary. Drawn from torch's generator where it is None.

        Returns:
            Bytes that grow with the number of tokens.

        Raises:
            ShapeError: If a tensor is missing, or has another shape, dtype or device than it needs.
            UnsupportedArgumentError: If *k_freqs* are given without ``use_rope``.
        """
        check_tokens(kv, self.kv_dim, name="kv", layer=self.k)
        check_key_padding_mask(key_padding_mask, kv)
        self._check_freqs(k_freqs, kv, "k_freqs")
        group = self._project_pair(Tokens(kv, k_freqs, key_padding_mask))
        part = numbered(group, first_token) if self.drops else group
        seed = seed_for(kv, seed, is_random=self.drops)
        return Summary.of(self, kv, parts={_GROUP: part}, seed=seed)

    def read(
        self,
        q: Tensor,
        summary: Summary,
        *,
        q_freqs: Frequencies | None = None,
        token_specs: Sequence[TokenSpec] | None = None,
        first_token: int = 0,
    ) -> Tensor:
        """Let every query token attend to what was gathered.

        Args:
            q: ``(batch, queries, hidden_dim)``.
            summary: What `gather` returned, or those of several parts merged.
            q_freqs: As in `forward`.
            token_specs: As in `forward`.
            first_token: Number of the first query, where *q* is a part of the queries.

        Returns:
            ``(batch, queries, hidden_dim)``.

        Raises:
            ShapeError: If a tensor is missing, or has another shape, dtype or device than it needs.
            SummaryError: If another module gathered *summary*, or in another batch or dtype, or on
                another device.
            TokenGroupError: As in `forward`.
            UnsupportedArgumentError: If *q_freqs* are given without ``use_rope``.
        """
        check_tokens(q, self.hidden_dim, name="q", layer=self.q)
        check_summary(summary, self, q)
        part: Any = summary.parts[_GROUP]
        group: KeyValues = part.in_order()
        if not self.drops:
            cache = KVCache.of(self, {_GROUP: group})
            return self.forward(q, None, q_freqs=q_freqs, kv_cache=cache, token_specs=token_specs)

        self._check_freqs(q_freqs, q, "q_freqs")
        runs = self._runs(token_specs, q)
        drawing = Drawing(seed_for(q, summary.seed, is_random=True), first_token)
        heads = read_dropping(
            self._queries(Tokens(q, q_freqs, runs=runs)),
            group.keys,
            group.values,
            key_padding_mask=group.real,
            dropout=self.dropout,
            drawing=drawing.beside(1),
        )
        return self.project_output(heads, runs=runs, drawing=drawing.beside(2))

    def _runs(self, token_specs: Sequence[TokenSpec] | None, q: Tensor) -> DomainRuns | None:
        """Return the domains of the queries; None where all share their weights."""
        if token_specs is None:
            if self.num_types is None:
                return None
            raise TokenGroupError(
                "token_specs: got None, wanted the groups of q: num_types is "
                f"{self.num_types}, and each domain of groups has weights of its own"
            )
        layout = layout_of(token_specs)
        if is_traced():
            return _runs_of_queries(layout, q.shape[1], self.num_types)
        return _remembered_runs(layout, q.shape[1], self.num_types)

    def _queries(self, tokens: Tokens) -> Tensor:
        x = tokens.x if tokens.runs is None else by_domain(tokens.x, tokens.runs)
        return self.project_queries(x, tokens.freqs)

    def _check_freqs(self, freqs: Frequencies | None, tokens: Tensor, name: str) -> None:
        check_freqs(
            freqs, tokens, self.head_dim, variant="perceiver", use_rope=self.use_rope, name=name
        )

    def _keys_and_values(self, call: Call, queries: Tensor) -> KeyValues:
        """Return all that *queries* attend to, made of tokens or taken from the cache.

        What is made of tokens fills the cache, where there is one.
        """
        if call.keys is not None:
            group = self._project_pair(call.keys)
        elif call.cache is not None:
            group = call.cache.read(self, _GROUP, queries)
        else:
            raise ShapeError(
                f"kv: got None, wanted (batch, keys, {self.kv_dim}), "
                "or a kv_cache that an earlier call filled"
            )

        # Only now is it sure how many keys there are: a cache knows it too.
        check_attn_mask(call.attn_mask, call.queries.x, group.keys.transpose(1, 2), self.num_heads)
        if call.keys is not None and call.cache is not None:
            call.cache.store(self, _GROUP, group)
        return group

    def _project_pair(self, tokens: Tokens) -> KeyValues:
        """Return the keys and values of *tokens*."""
        x, freqs, real, _ = tokens
        if real is not None:
            x, freqs = zero_padding(x, real), zero_padding(freqs, real)
        return KeyValues(self.project_keys(x, freqs), self.project_values(x), real)

    def _stream(self, call: Call, sizes: ChunkSizes) -> Tensor:
        """Return the result of a call, made of one chunk of queries after the other."""
        x = call.queries.x
        mask = combine_masks(call.attn_mask, None) if isinstance(call.attn_mask, Tensor) else None
        attend_from: Callable[[Tensor, Tensor | None], Tensor]
        if call.keys is None or sizes.keys is None:
            # A cache is held against queries, of which there are none yet.
            none = call.queries.take(slice(0, 0))
            kept = self._keys_and_values(call, self._queries(none))
            attend_from = functools.partial(self._attend_to_kept, kept)
        else:
            check_attn_mask(call.attn_mask, x, call.keys.x, self.num_heads)
            attend_from = functools.partial(self._attend_to_chunks, call.keys, sizes.keys)

        y = x.new_empty(x.shape, dtype=dtype_of_results(x))
        for span in chunks_of([slice(0, x.shape[1])], sizes.queries):
            tokens = call.queries.take(span)
            heads = attend_from(self._queries(tokens), take_queries(mask, span))
            y[:, span] = self.project_output(heads, runs=tokens.runs)
        return y

    def _attend_to_kept(self, kept: KeyValues, queries: Tensor, mask: Tensor | None) -> Tensor:
        """Return the attention of some queries to keys and values that all queries share."""
        keys, values, real = kept
        return attend(
            queries, keys, values, attn_mask=mask, key_padding_mask=real, backend=self.backend
        )

    def _attend_to_chunks(
        self, tokens: Tokens, size: int, queries: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Return the attention of some queries to *size* tokens after the other, merged."""
        return attend_to_chunks(queries, self._key_chunks(tokens, size, mask), backend=self.backend)

    def _key_chunks(self, tokens: Tokens, size: int, mask: Tensor | None) -> Iterator[KeyChunk]:
        """Yield the keys, the values and the mask of *size* tokens after the other."""
        for span in chunks_of([slice(0, tokens.x.shape[1])], size):
            keys, values, real = self._project_pair(tokens.take(span))
            yield KeyChunk(keys, values, combine_masks(take_keys(mask, span), real))


def _runs_of_queries(layout: Layout, tokens: int, num_types: int | None) -> DomainRuns | None:
    """Return the domains of *tokens* queries, whose groups are checked in any case."""
    group_sizes(layout, tokens)
    return None if num_types is None else runs_of(layout, number_domains(layout, num_types))


_remembered_runs = functools.lru_cache(maxsize=256)(_runs_of_queries)


def _check_cached_only(k_freqs: Frequencies | None, key_padding_mask: Tensor | None) -> None:
    """Check that nothing is said of the tokens of *kv* where there are none."""
    for name, value in (("k_freqs", k_freqs), ("key_padding_mask", key_padding_mask)):
        if value is not None:
            raise UnsupportedArgumentError("perceiver", name, _CACHED_ALREADY[name])
