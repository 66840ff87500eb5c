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
    layout_of,
    project_heads,
)
from noether_core.nn.groups import GroupSplit, SplitTokens, select_groups
from noether_plugins.attention.mixed.answers import Answers
from noether_plugins.attention.mixed.config import MixedAttentionConfig
from noether_plugins.attention.mixed.patterns import Rule, readings_of
from noether_plugins.attention.mixed.plan import Plan, plan_for, remembered_plan
from noether_plugins.attention.mixed.shares import share_out, share_out_freqs

if TYPE_CHECKING:
    from collections.abc import Sequence


class MixedAttention(QKVAttention):
    """Named groups of tokens read each other in patterns: each pattern says which groups ask, and
    which answer.

    Dot-product attention whose queries read the keys of some groups alone: for each pattern,
    ``softmax(q k^T / sqrt(d)) v`` with the tokens of its query groups for ``q`` and those of its
    key groups, one behind the other, for ``k`` and ``v``; ``proj`` then mixes the heads of all
    tokens. Time grows with queries times keys of each pattern. Keys and values are projected for
    groups that some pattern reads, and for no other.

    The anchor attention of Alkin et al., AB-UPT, 2025 (arXiv 2502.09692), with the patterns left to
    the call.

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    _last: tuple[object, Plan] | None = None
    """What the last call was asked for, and its plan."""

    def __init__(self, config: AttentionConfig) -> None:
        concrete = structure(config, MixedAttentionConfig)
        super().__init__(concrete)
        self.backend = concrete.backend

    def forward(
        self,
        x: Tensor,
        token_specs: Sequence[TokenSpec],
        attention_patterns: Sequence[AttentionPattern] | Rule | None = None,
        *,
        key_padding_mask: Tensor | None = None,
        freqs: Frequencies | None = None,
        kv_cache: KVCache | None = None,
    ) -> Tensor:
        """Let the tokens of every group read the groups that its pattern names; one that may read
        none reads zeros.

        Args:
            x: ``(batch, tokens, hidden_dim)``: the groups one behind the other.
            token_specs: The groups, in the order of *x*. One of size None is not in *x*; its keys
                and values come from *kv_cache*.
            attention_patterns: Which groups attend to which; every group asks in exactly one. Where
                it is None, every group reads every group. Or a rule, which is told the names of the
                groups when they are new.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. Padding is read by
                no token; it still reads, so its own rows of the result mean nothing.
            freqs: What `RopeFrequency` returns for the tokens of *x*; exactly if ``use_rope``.
            kv_cache: Filled with the groups of *x* that a pattern reads, and read for those that
                are not in *x*.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            TokenGroupError: If groups, patterns and tokens do not fit each other.
            ShapeError: If a tensor has another shape, dtype or device than it needs, or *freqs* are
                missing.
            CacheError: If the cache does not hold a group that is read, or holds it in a form that
                does not fit.
            UnsupportedArgumentError: If *freqs* are given without ``use_rope``.
        """
        check_tokens(x, self.hidden_dim)
        plan = self._plan(token_specs, attention_patterns, x.shape[1], kv_cache is not None)
        check_key_padding_mask(key_padding_mask, x)
        check_freqs(freqs, x, self.head_dim, variant="mixed", use_rope=self.use_rope)
        if not plan.calls:  # there are no tokens
            return self.project_output(project_heads(x, self.q, self.num_heads))
        if plan.is_whole:
            return self._attend_at_once(x, plan, key_padding_mask, freqs)
        read = self._attend(x, plan, key_padding_mask, freqs, kv_cache)
        return self.project_output(read[0] if len(read) == 1 else _in_order(read, plan.queries))

    def _plan(
        self,
        token_specs: Sequence[TokenSpec],
        patterns: Sequence[AttentionPattern] | Rule | None,
        tokens: int,
        storing: bool,
    ) -> Plan:
        """Return what a call does: what the last one did, where it was asked for the same, which is
        quick to see.
        """
        specs = tuple(token_specs)
        patterns = patterns if patterns is None or callable(patterns) else tuple(patterns)
        if torch.compiler.is_compiling():
            return plan_for(layout_of(specs), readings_of(patterns), tokens, storing)
        asked, last = (specs, patterns, tokens, storing), self._last
        if last is None or last[0] != asked:
            self._last = last = (
                asked,
                remembered_plan(layout_of(specs), readings_of(patterns), tokens, storing),
            )
        return last[1]

    def _attend_at_once(
        self, x: Tensor, plan: Plan, real: Tensor | None, freqs: Frequencies | None
    ) -> Tensor:
        """Return the result of a call in which the kernel is called once; each share is an entry of
        the batch.
        """
        heads, shares = self.num_heads, plan.calls[0].shares
        tokens, real, key_freqs = self._answering(x, plan, real, freqs)
        if shares > 1:
            real = None if real is None else share_out(real, shares)
            if freqs is not None and key_freqs is not None:
                freqs, key_freqs = (
                    share_out_freqs(some, x.shape[0], shares) for some in (freqs, key_freqs)
                )

        read = self._read(
            project_heads(x, self.q, heads, norm=self.q_norm, freqs=freqs, parts=shares),
            project_heads(tokens, self.k, heads, norm=self.k_norm, freqs=key_freqs, parts=shares),
            project_heads(tokens, self.v, heads, parts=shares),
            real,
        )  # only *read* is held from here on
        return self.project_output(read, parts=shares)

    def _attend(
        self,
        x: Tensor,
        plan: Plan,
        real: Tensor | None,
        freqs: Frequencies | None,
        cache: KVCache | None,
    ) -> list[Tensor]:
        """Return what is read in each call of the kernel, ``(batch, heads, tokens, head_dim)``."""
        queries = project_heads(x, self.q, self.num_heads, norm=self.q_norm, freqs=freqs)
        cached = [self._cached(call.cached, cache, queries) for call in plan.calls]
        fresh = self._fresh(*self._answering(x, plan, real, freqs)) if plan.fresh else None
        answers = Answers(fresh, plan.keys, cached)
        if cache is not None:
            for name, group in zip(plan.fresh, answers.behind(len(plan.calls)), strict=True):
                cache.store(self, name, group)

        asking = SplitTokens(queries, plan.queries.lengths, 2)
        return [
            self._read(asking.take(runs), *answers.to(call))
            for call, runs in enumerate(plan.queries.selections)
        ]

    def _cached(
        self, names: tuple[str, ...], cache: KVCache | None, queries: Tensor
    ) -> KeyValues | None:
        """Return the keys and values that come from the cache, if any do."""
        if not names:
            return None
        if cache is None:
            raise TokenGroupError(
                f"token_specs: {names[0]!r} is of size None, is read, and no kv_cache holds its keys; pass one, or its "
                "size"
            )
        return cache.read_joined(self, names, queries)

    def _answering(
        self, x: Tensor, plan: Plan, real: Tensor | None, freqs: Frequencies | None
    ) -> tuple[Tensor, Tensor | None, Frequencies | None]:
        """Return the tokens of this call that are read, and their padding and frequencies."""
        cut = plan.answering
        return (
            select_groups(x, cut, dim=1),
            None if real is None else select_groups(real, cut, dim=1),
            None if freqs is None else _rotating(freqs, cut),
        )

    def _fresh(self, tokens: Tensor, real: Tensor | None, freqs: Frequencies | None) -> KeyValues:
        """Return what *tokens* answer with; of those that nobody reads nothing is projected."""
        keys = project_heads(tokens, self.k, self.num_heads, norm=self.k_norm, freqs=freqs)
        return KeyValues(keys, project_heads(tokens, self.v, self.num_heads), real)

    def _read(self, queries: Tensor, keys: Tensor, values: Tensor, real: Tensor | None) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        return attend(
            queries, keys, values, key_padding_mask=real, dropout=dropout, backend=self.backend
        )


def _rotating(freqs: Frequencies, cut: GroupSplit) -> Frequencies:
    """Return the frequencies of the tokens that *cut* wants."""
    if isinstance(freqs, Tensor):
        return select_groups(freqs, cut, dim=-2)
    return tuple(select_groups(angles, cut, dim=-2) for angles in freqs)


def _in_order(read: list[Tensor], cut: GroupSplit) -> Tensor:
    """Return what the groups read, ``(batch, heads, tokens, head_dim)``, one behind the other; laid
    out by token.
    """
    rows: dict[int, Tensor] = {}
    for found, runs in zip(read, cut.selections, strict=True):
        pieces = [first for first, _ in runs]  # each run is one piece: every token asks once
        rows.update(
            zip(
                pieces,
                found.split_with_sizes([cut.lengths[piece] for piece in pieces], 2),
                strict=True,
            )
        )
    return torch.cat([rows[piece].transpose(1, 2) for piece in range(len(rows))], dim=1).transpose(
        1, 2
    )
