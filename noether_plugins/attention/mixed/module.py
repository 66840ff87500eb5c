"""The module of mixed attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from noether_core import AttentionConfig, AttentionPattern, TokenGroupError, TokenSpec, structure
from noether_core.nn import (
    Frequencies,
    KeyValues,
    KVCache,
    QKVAttention,
    Summary,
    attend,
    check_freqs,
    check_key_padding_mask,
    check_kv_cache,
    check_summary,
    check_tokens,
    layout_of,
    zero_padding,
)
from noether_core.nn.cache import join_key_values
from noether_core.nn.domains import DomainRuns, DomainTokens, by_domain
from noether_core.nn.dropped_attention import read_dropping
from noether_core.nn.groups import (
    GroupSplit,
    Selection,
    SplitTokens,
    listed,
    select_groups,
)
from noether_core.nn.noise import Drawing, seed_for
from noether_core.nn.operators import dtype_of_results
from noether_core.nn.summaries import Part, numbered
from noether_plugins.attention.mixed.config import MixedAttentionConfig
from noether_plugins.attention.mixed.patterns import (
    GatheredRule,
    PatternRule,
    name_gathered,
    patterns_as_names,
)
from noether_plugins.attention.mixed.plan import Plan, plan_for, remembered_plan

if TYPE_CHECKING:
    from collections.abc import Sequence


class MixedAttention(QKVAttention):
    """Groups of tokens attend to the groups that a pattern of the call names for them.

    For each pattern, ``softmax(q k^T / sqrt(d)) v`` with the tokens of its query groups for ``q``
    and those of its key groups, one behind the other, for ``k`` and ``v``; ``proj`` then mixes the
    heads of all tokens. Time grows with queries times keys of each pattern. Keys and values are
    projected for groups that some pattern attends to, and for no other.

    The anchor attention of Alkin et al., AB-UPT, 2025 (arXiv 2502.09692), with the patterns left to
    the call.

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    rounds = 1
    """Times that `gather` goes over the tokens."""

    _last: _LastCall | None = None
    """What the last call was given, and its plan."""

    def __init__(self, config: AttentionConfig) -> None:
        concrete = structure(config, MixedAttentionConfig)
        super().__init__(concrete, num_types=concrete.num_types)
        self.backend = concrete.backend

    def forward(
        self,
        x: Tensor,
        token_specs: Sequence[TokenSpec],
        attention_patterns: Sequence[AttentionPattern] | PatternRule | None = None,
        *,
        key_padding_mask: Tensor | None = None,
        freqs: Frequencies | None = None,
        kv_cache: KVCache | None = None,
    ) -> Tensor:
        """Let the tokens of every group attend to the groups that its pattern names.

        A token that may attend to none gets zeros.

        Args:
            x: ``(batch, tokens, hidden_dim)``: the groups one behind the other.
            token_specs: The groups, in the order of *x*. One of size None is not in *x*; its keys
                and values come from *kv_cache*.
            attention_patterns: Which groups attend to which; every group is a query in exactly one.
                Where it is None, every group attends to every group. Or a rule that makes the
                patterns from the names of the groups, called when they are new.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. No token attends
                to padding; padding still attends, so its own rows of the result mean nothing.
            freqs: What `RopeFrequency` returns for the tokens of *x*; exactly if ``use_rope``.
            kv_cache: Filled with the groups of *x* that a pattern attends to; keys and values of
                groups that are not in *x* are taken from it.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            TokenGroupError: If groups, patterns and tokens do not fit each other.
            ShapeError: If a tensor has another shape, dtype or device than it needs, or *freqs* are
                missing.
            CacheError: If the cache does not hold a group that is attended to, or holds it in a
                form that does not fit.
            UnsupportedArgumentError: If *freqs* are given without ``use_rope``.
        """
        check_tokens(x, self.hidden_dim, layer=self.q)
        check_kv_cache(kv_cache)
        plan = self._plan(token_specs, attention_patterns, x.shape[1], kv_cache is not None)
        x, freqs = self._checked(x, key_padding_mask, freqs)

        if not plan.calls:
            # No group has tokens.
            return self._output(self._queries(x, plan), plan)

        if plan.is_whole:
            return self._attend_at_once(x, plan, key_padding_mask, freqs)

        results = self._attend_by_calls(x, plan, key_padding_mask, freqs, kv_cache)
        return self._output(_in_order_of_input(results, plan.queries), plan)

    def gather(
        self,
        x: Tensor,
        token_specs: Sequence[TokenSpec],
        attention_patterns: Sequence[AttentionPattern] | PatternRule | None = None,
        *,
        key_padding_mask: Tensor | None = None,
        freqs: Frequencies | None = None,
        first_token: int = 0,
        seed: Tensor | None = None,
    ) -> Summary:
        """Return the keys and values of the groups that a pattern attends to.

        Args:
            x: ``(batch, tokens, hidden_dim)``: the groups one behind the other.
            token_specs: The groups, in the order of *x*. One of size None is not in *x*, and counts
                where patterns name it, and for its domain.
            attention_patterns: As in `forward`.
            key_padding_mask: As in `forward`.
            freqs: As in `forward`.
            first_token: Number of the first token, where *x* is a part of the tokens.
            seed: Decides what is dropped in training where they are read: the ``seed`` of another
                part's summary. Drawn from torch's generator where it is None.

        Returns:
            Bytes that grow with the number of tokens; a part of a group is one too.

        Raises:
            TokenGroupError: If groups, patterns and tokens do not fit each other.
            ShapeError: As in `forward`.
            UnsupportedArgumentError: As in `forward`.
        """
        check_tokens(x, self.hidden_dim, layer=self.q)
        plan = self._plan(token_specs, attention_patterns, x.shape[1], storing=True)
        x, freqs = self._checked(x, key_padding_mask, freqs)

        layout = layout_of(token_specs)
        nothing = x.new_zeros(x.shape[0], self.num_heads, 0, self.head_dim)
        nothing = nothing.to(dtype_of_results(x))
        groups = {name: KeyValues(nothing, nothing, None) for name, size in layout if size is None}
        if plan.fresh:
            fresh = self._fresh(x, plan, key_padding_mask, freqs)
            for name, pieces in zip(plan.fresh, plan.stored, strict=True):
                groups[name] = fresh.take(pieces)

        parts: dict[str, Part] = {}
        for name, size in layout:
            if name in groups:
                own = groups[name]
                parts[name] = numbered(own, first_token) if self.drops else own
            first_token += size or 0
        seed = seed_for(x, seed, is_random=self.drops)
        return Summary.of(self, x, parts=parts, seed=seed, domains=plan.domains)

    def read(
        self,
        x: Tensor,
        summary: Summary,
        token_specs: Sequence[TokenSpec],
        attention_patterns: Sequence[AttentionPattern] | PatternRule | None = None,
        *,
        key_padding_mask: Tensor | None = None,
        freqs: Frequencies | None = None,
        first_token: int = 0,
    ) -> Tensor:
        """Let the tokens of every group attend to the groups that were gathered.

        Args:
            x: ``(batch, tokens, hidden_dim)``: the groups one behind the other. They attend; what
                they attend to is in *summary* alone.
            summary: What `gather` returned, or those of several parts merged.
            token_specs: The groups, in the order of *x*. One of size None is not in *x*, and counts
                where patterns name it.
            attention_patterns: Which groups attend to which, of those in *x* and in *summary*.
            key_padding_mask: As in `forward`.
            freqs: As in `forward`.
            first_token: Number of the first token, where *x* is a part of the tokens.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            TokenGroupError: If groups, patterns and tokens do not fit each other, or a group is
                attended to that *summary* does not hold.
            SummaryError: If another module gathered *summary*, or in another batch or dtype, or on
                another device.
            ShapeError: As in `forward`.
            UnsupportedArgumentError: As in `forward`.
        """
        check_tokens(x, self.hidden_dim, layer=self.q)
        check_summary(summary, self, x)
        own = listed(token_specs, "token_specs", "TokenSpec")
        present = [spec for spec in own if spec.size is not None]
        # In an order that does not depend on that in which parts were merged.
        groups: Any = dict(sorted(summary.parts.items()))
        gathered = {name_gathered(name): part.in_order() for name, part in groups.items()}
        rule = GatheredRule(
            patterns_as_names(attention_patterns),
            tuple([name for name, _ in layout_of(own)]),
            tuple(groups),
        )
        specs = [*(TokenSpec(name, None) for name in gathered), *present]
        # Domains are counted as they were where these were gathered.
        domains = summary.origin.domains or ()
        plan = self._plan(specs, rule, x.shape[1], storing=True, domains=domains)
        x, freqs = self._checked(x, key_padding_mask, freqs)
        drawing = None
        if self.drops:
            drawing = Drawing(seed_for(x, summary.seed, is_random=True), first_token)
        if not plan.calls:
            return self._output(self._queries(x, plan), plan)

        cache = KVCache.of(self, gathered)
        results = self._attend_by_calls(x, plan, key_padding_mask, freqs, cache, drawing=drawing)
        return self._output(_in_order_of_input(results, plan.queries), plan, drawing=drawing)

    def _checked(
        self, x: Tensor, real: Tensor | None, freqs: Frequencies | None
    ) -> tuple[Tensor, Frequencies | None]:
        """Return tokens and frequencies without what padding holds, once they fit each other."""
        check_key_padding_mask(real, x)
        check_freqs(freqs, x, self.head_dim, variant="mixed", use_rope=self.use_rope)
        return zero_padding(x, real), zero_padding(freqs, real)

    def _plan(
        self,
        token_specs: Sequence[TokenSpec],
        patterns: Sequence[AttentionPattern] | PatternRule | None,
        tokens: int,
        storing: bool,
        domains: tuple[str, ...] = (),
    ) -> Plan:
        """Return what a call does with its groups.

        The plan of the last call serves again where the groups are the same, which is quicker to
        see than to look the plan up.
        """
        specs = listed(token_specs, "token_specs", "TokenSpec")
        if patterns is not None and not callable(patterns):
            patterns = listed(patterns, "attention_patterns", "AttentionPattern")
        if torch.compiler.is_compiling():
            names = patterns_as_names(patterns)
            return plan_for(
                layout_of(specs), names, tokens, storing, num_types=self.num_types, domains=domains
            )

        # Equal tuples are compared faster than they are hashed.
        given = (specs, patterns, tokens, storing, domains)
        last = self._last
        if last is None or last.given != given:
            names = patterns_as_names(patterns)
            plan = remembered_plan(
                layout_of(specs), names, tokens, storing, num_types=self.num_types, domains=domains
            )
            self._last = last = _LastCall(given, plan)
        return last.plan

    def _attend_at_once(
        self, x: Tensor, plan: Plan, real: Tensor | None, freqs: Frequencies | None
    ) -> Tensor:
        """Return the result of a call that is one call of the kernel."""
        parts = plan.calls[0].parts
        tokens, real, key_freqs = _select(x, real, freqs, plan.attended)
        if parts > 1:
            real = None if real is None else _stacked(real, parts)
            freqs = _stacked_freqs(freqs, x.shape[0], parts)
            key_freqs = _stacked_freqs(key_freqs, x.shape[0], parts)

        attended = _with_domains(tokens, plan.key_runs)
        # No name holds queries, keys and values, so that their memory is free for the output.
        result = self._kernel(
            self._queries(x, plan, freqs, parts=parts),
            self.project_keys(attended, key_freqs, parts=parts),
            self.project_values(attended, parts=parts),
            real,
        )
        return self._output(result, plan, parts=parts)

    def _attend_by_calls(
        self,
        x: Tensor,
        plan: Plan,
        real: Tensor | None,
        freqs: Frequencies | None,
        cache: KVCache | None,
        *,
        drawing: Drawing | None = None,
    ) -> list[Tensor]:
        """Return the results of the calls of the kernel, ``(batch, heads, queries, head_dim)``."""
        if cache is not None and plan.domains is not None:
            cache.agree_on_domains(plan.domains)
        queries = self._queries(x, plan, freqs)
        cached = [self._cached(call.cached, cache, queries) for call in plan.calls]
        fresh = self._fresh(x, plan, real, freqs) if plan.fresh else None

        # Stored only now, when all that comes from the cache was taken from it.
        if cache is not None and fresh is not None:
            for name, pieces in zip(plan.fresh, plan.stored, strict=True):
                cache.store(self, name, fresh.take(pieces))

        split_queries = SplitTokens(queries, plan.queries.lengths, 2)
        drawings = _drawings(drawing, x, plan)
        results = []
        for of_queries, of_keys, group, own in zip(
            plan.queries.selections, plan.keys, cached, drawings, strict=True
        ):
            attended = [] if group is None else [group]
            if of_keys and fresh is not None:
                attended.append(fresh.take(of_keys))
            keys = join_key_values(attended)
            results.append(self._kernel(split_queries.take(of_queries), *keys, own))
        return results

    def _queries(
        self, x: Tensor, plan: Plan, freqs: Frequencies | None = None, *, parts: int = 1
    ) -> Tensor:
        tokens = _with_domains(x, plan.query_runs)
        return self.project_queries(tokens, freqs, parts=parts)

    def _output(
        self, heads: Tensor, plan: Plan, *, parts: int = 1, drawing: Drawing | None = None
    ) -> Tensor:
        own = None if drawing is None else drawing.beside(2)
        return self.project_output(heads, parts=parts, runs=plan.query_runs, drawing=own)

    def _cached(
        self, names: tuple[str, ...], cache: KVCache | None, queries: Tensor
    ) -> KeyValues | None:
        """Return the keys and values that come from the cache, if any do."""
        if not names:
            return None
        if cache is None:
            raise TokenGroupError(
                f"token_specs: {names[0]!r} is of size None, is attended to, and no kv_cache holds "
                "its keys; pass one, or its size"
            )
        return cache.read_joined(self, names, queries)

    def _fresh(
        self, x: Tensor, plan: Plan, real: Tensor | None, freqs: Frequencies | None
    ) -> _SplitKeyValues:
        """Return the keys and values of the groups that are attended to, and of no other."""
        tokens, real, freqs = _select(x, real, freqs, plan.attended)
        attended = _with_domains(tokens, plan.key_runs)
        keys = self.project_keys(attended, freqs)
        values = self.project_values(attended)
        return _SplitKeyValues(KeyValues(keys, values, real), plan.key_lengths)

    def _kernel(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        real: Tensor | None,
        drawing: Drawing | None = None,
    ) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        if drawing is not None:
            return read_dropping(
                queries, keys, values, key_padding_mask=real, dropout=dropout, drawing=drawing
            )
        return attend(
            queries, keys, values, key_padding_mask=real, dropout=dropout, backend=self.backend
        )


def _drawings(drawing: Drawing | None, x: Tensor, plan: Plan) -> list[Drawing | None]:
    """Return what draws for the queries of each call of the kernel, by the numbers of tokens."""
    if drawing is None:
        return [None] * len(plan.calls)
    numbers = torch.arange(x.shape[1], device=x.device) + drawing.first_token
    split = SplitTokens(numbers, plan.queries.lengths, 0)
    seed = drawing.beside(1).seed
    return [Drawing(seed, split.take(selection)) for selection in plan.queries.selections]


def _with_domains(tokens: Tensor, runs: DomainRuns | None) -> Tensor | DomainTokens:
    """Return *tokens* as the layers take them: split, where domains have weights of their own."""
    return tokens if runs is None else by_domain(tokens, runs)


class _LastCall(NamedTuple):
    """What a call was given, and what it does."""

    given: tuple[object, ...]
    plan: Plan


class _SplitKeyValues:
    """Keys and values of which groups are taken; views where these stand together."""

    def __init__(self, whole: KeyValues, lengths: tuple[int, ...]) -> None:
        self._keys = SplitTokens(whole.keys, lengths, 2)
        self._values = SplitTokens(whole.values, lengths, 2)
        self._real = None if whole.real is None else SplitTokens(whole.real, lengths, 1)

    def take(self, pieces: Selection) -> KeyValues:
        """Return the keys and values of some pieces, one behind the other."""
        real = None if self._real is None else self._real.take(pieces)
        return KeyValues(self._keys.take(pieces), self._values.take(pieces), real)


def _select(
    x: Tensor, real: Tensor | None, freqs: Frequencies | None, split: GroupSplit
) -> tuple[Tensor, Tensor | None, Frequencies | None]:
    """Return the tokens that *split* selects, with their padding and their frequencies."""
    tokens = select_groups(x, split, dim=1)
    if real is not None:
        real = select_groups(real, split, dim=1)

    if isinstance(freqs, Tensor):
        freqs = select_groups(freqs, split, dim=-2)
    elif freqs is not None:
        freqs = tuple([select_groups(angles, split, dim=-2) for angles in freqs])
    return tokens, real, freqs


def _stacked(tokens: Tensor, parts: int) -> Tensor:
    """Return ``(batch, parts * tokens, ...)`` as ``(batch * parts, tokens, ...)``.

    That is what `split_heads` makes of the tokens themselves; a view where *tokens* are contiguous.
    """
    batch, count, *rest = tokens.shape
    return tokens.reshape(batch * parts, count // parts, *rest)


def _stacked_freqs(freqs: Frequencies | None, batch: int, parts: int) -> Frequencies | None:
    """Return frequencies ``(..., parts * tokens, width)`` as ``(batch * parts, tokens, width)``."""
    if freqs is None:
        return None
    if isinstance(freqs, Tensor):
        return _stacked(freqs.expand(batch, *freqs.shape[-2:]), parts)
    return tuple(_stacked(angles.expand(batch, *angles.shape[-2:]), parts) for angles in freqs)


def _in_order_of_input(results: Sequence[Tensor], split: GroupSplit) -> Tensor:
    """Return results of calls as one, ``(batch, heads, tokens, head_dim)``, laid out by token.

    Args:
        results: For each selection of *split*, ``(batch, heads, its tokens, head_dim)``.
        split: Each of its pieces is in exactly one selection, as every group attends once.
    """
    if len(results) == 1:
        return results[0]

    pieces: dict[int, Tensor] = {}
    for result, selection in zip(results, split.selections, strict=True):
        numbers = [first for first, _ in selection]
        lengths = [split.lengths[number] for number in numbers]
        pieces.update(zip(numbers, result.split_with_sizes(lengths, 2), strict=True))

    by_token = [pieces[number].transpose(1, 2) for number in range(len(pieces))]
    return torch.cat(by_token, dim=1).transpose(1, 2)
