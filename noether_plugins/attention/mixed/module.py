"""The module of mixed attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from noether_core import AttentionConfig, AttentionPattern, TokenGroupError, TokenSpec, structure
from noether_core.nn import (
    Frequencies,
    KeyValues,
    KVCache,
    QKVAttention,
    attend,
    check_freqs,
    check_key_padding_mask,
    check_tokens,
    group_spans,
    project_heads,
    take_tokens,
)
from noether_plugins.attention.mixed.answers import Answers
from noether_plugins.attention.mixed.config import MixedAttentionConfig
from noether_plugins.attention.mixed.patterns import Reading, groups_read, readings_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence


class MixedAttention(QKVAttention):
    """Named groups of tokens read each other in patterns: each pattern says which groups ask, and which answer.

    Dot-product attention whose queries read the keys of some groups alone: for each pattern,
    ``softmax(q k^T / sqrt(d)) v`` with the tokens of its query groups for ``q`` and those of its key groups, one behind
    the other, for ``k`` and ``v``; ``proj`` then mixes the heads of all tokens. Time grows with queries times keys of
    each pattern. Keys and values are projected for groups that some pattern reads, and for no other.

    The anchor attention of Alkin et al., AB-UPT, 2025 (arXiv 2502.09692), with the patterns left to the call.

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__(structure(config, MixedAttentionConfig))

    def forward(
        self,
        x: Tensor,
        token_specs: Sequence[TokenSpec],
        attention_patterns: Sequence[AttentionPattern | Reading] | None = None,
        *,
        key_padding_mask: Tensor | None = None,
        freqs: Frequencies | None = None,
        kv_cache: KVCache | None = None,
    ) -> Tensor:
        """Let the tokens of every group read the groups that its pattern names; one that may read none reads zeros.

        Args:
            x: ``(batch, tokens, hidden_dim)``: the groups one behind the other.
            token_specs: The groups, in the order of *x*. One of size None is not in *x*; its keys and values come from
                *kv_cache*.
            attention_patterns: Which groups attend to which; every group asks in exactly one. Where it is None, every
                group reads every group.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. Padding is read by no token; it still
                reads, so its own rows of the result mean nothing.
            freqs: What `RopeFrequency` returns for the tokens of *x*; exactly if ``use_rope``.
            kv_cache: Filled with the groups of *x* that a pattern reads, and read for those that are not in *x*.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            TokenGroupError: If groups, patterns and tokens do not fit each other.
            ShapeError: If a tensor has another shape, dtype or device than it needs, or *freqs* are missing.
            CacheError: If the cache does not hold a group that is read, or holds it in a form that does not fit.
            UnsupportedArgumentError: If *freqs* are given without ``use_rope``.
        """
        check_tokens(x, self.hidden_dim)
        spans = group_spans(token_specs, x.shape[1])
        readings = readings_of(attention_patterns, spans)
        check_key_padding_mask(key_padding_mask, x)
        check_freqs(freqs, x, self.head_dim, variant="mixed", use_rope=self.use_rope)
        queries = project_heads(x, self.q, self.num_heads, norm=self.q_norm, freqs=freqs)
        asked = [reading for reading in readings if _present(reading.query_tokens, spans)]
        answers = Answers()

        fresh = _present(groups_read(asked if kv_cache is None else readings, spans), spans)
        for name in groups_read(asked, spans):
            if name not in fresh:
                group = self._cached(name, kv_cache, queries)
                answers.add(group, [(name, group.keys.shape[2])])
        if fresh:
            group = self._key_values(x, fresh.values(), key_padding_mask, freqs)
            answers.add(group, [(name, _size(span)) for name, span in fresh.items()])
        if kv_cache is not None:
            for name in fresh:
                kv_cache.store(self, name, answers.of([name]))

        read: dict[str, Tensor] = {}
        for reading in asked:
            asking = _present(reading.query_tokens, spans)
            found = self._read(take_tokens(queries, asking.values(), dim=2), answers.of(reading.key_value_tokens))
            parts = torch.split(found, [_size(span) for span in asking.values()], dim=2)
            read.update(zip(asking, parts, strict=True))

        return self.project_output(_in_order([read[name] for name in spans if name in read], queries))

    def _cached(self, name: str, cache: KVCache | None, queries: Tensor) -> KeyValues:
        if cache is None:
            raise TokenGroupError(
                f"token_specs: {name!r} is of size None, is read, and no kv_cache holds its keys; pass one, or its size"
            )
        return cache.read(self, name, queries)

    def _key_values(
        self, x: Tensor, spans: Collection[slice], real: Tensor | None, freqs: Frequencies | None
    ) -> KeyValues:
        """Return what the tokens in *spans* answer with; no other tokens are projected."""
        tokens = take_tokens(x, spans, dim=1)
        keys = project_heads(tokens, self.k, self.num_heads, norm=self.k_norm, freqs=_rotating(freqs, spans))
        values = project_heads(tokens, self.v, self.num_heads)
        return KeyValues(keys, values, None if real is None else take_tokens(real, spans, dim=1))

    def _read(self, queries: Tensor, group: KeyValues) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        return attend(queries, group.keys, group.values, key_padding_mask=group.real, dropout=dropout)


def _present(names: Iterable[str], spans: Mapping[str, slice | None]) -> dict[str, slice]:
    """Return where those of *names* stand that are in the input, in their order."""
    found = ((name, spans[name]) for name in names)
    return {name: span for name, span in found if span is not None}


def _size(span: slice) -> int:
    size: int = span.stop - span.start
    return size


def _rotating(freqs: Frequencies | None, spans: Collection[slice]) -> Frequencies | None:
    """Return the frequencies of the tokens in *spans*."""
    if freqs is None or isinstance(freqs, Tensor):
        return None if freqs is None else take_tokens(freqs, spans, dim=-2)
    return tuple(take_tokens(angles, spans, dim=-2) for angles in freqs)


def _in_order(read: list[Tensor], queries: Tensor) -> Tensor:
    """Return what the groups read, ``(batch, heads, tokens, head_dim)``, one behind the other; laid out by token."""
    if not read:
        return queries  # there are no tokens
    return torch.cat([part.transpose(1, 2) for part in read], dim=1).transpose(1, 2)
