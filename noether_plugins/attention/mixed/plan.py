"""What a call does with its groups: worked out once for groups of the same names and sizes.

Nothing here looks at a size where a graph is compiled, so that one graph serves groups of any
sizes.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import torch

from noether_core.nn import group_sizes
from noether_core.nn.domains import DomainRuns, number_domains, runs_of
from noether_core.nn.groups import GroupSplit, Layout, Selection, split_groups
from noether_plugins.attention.mixed.patterns import Pattern, PatternRule, patterns_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class KernelCall(NamedTuple):
    """Groups whose queries attend in one call of the kernel, and the groups they attend to."""

    queries: tuple[str, ...]
    """Groups of the input, in its order."""

    keys: tuple[str, ...]
    """Groups whose keys and values are made in this call, one behind the other."""

    cached: tuple[str, ...]
    """Groups whose keys and values come from a cache."""

    parts: int
    """Equal parts of queries and keys, each an entry of the batch.

    Queries of the first part attend to keys of the first part, and so on.
    """


class Plan(NamedTuple):
    """What a call does with its groups."""

    calls: tuple[KernelCall, ...]
    """The calls of the kernel, in the order of their first groups of queries."""

    queries: GroupSplit
    """The input, split for the queries of each of *calls*."""

    fresh: tuple[str, ...]
    """Groups whose keys and values are made, in the order in which they are made."""

    attended: GroupSplit
    """The input, split for the groups that are *fresh*."""

    key_lengths: tuple[int, ...]
    """Tokens of the pieces into which keys and values of *fresh* are split."""

    keys: tuple[Selection, ...]
    """The pieces that each of *calls* attends to."""

    stored: tuple[Selection, ...]
    """The pieces of each of *fresh*, where they go into a cache; else nothing."""

    is_whole: bool
    """Whether one call of the kernel takes all queries and all fresh keys, and no other keys."""

    domains: tuple[str, ...] | None = None
    """Domains that have weights of their own, in the order of their numbers; None where all tokens
    share them.
    """

    query_runs: DomainRuns | None = None
    """The input by domain."""

    key_runs: DomainRuns | None = None
    """The groups that are *fresh* by domain."""


def plan_for(
    layout: Layout,
    patterns: tuple[Pattern, ...] | PatternRule | None,
    tokens: int,
    storing: bool,
    *,
    num_types: int | None = None,
    domains: tuple[str, ...] = (),
) -> Plan:
    """Return what a call does with its groups.

    Queries of groups that attend to the same keys stand together, and keys stand in the order of
    the input: attention is the same in any.

    Args:
        layout: The groups, in the order of the input, and their tokens; None for those that come
            from a cache.
        patterns: Which groups attend to which, or the rule that says so.
        tokens: Number of tokens of the input.
        storing: Whether keys and values go into a cache; then those are made that no query of this
            call attends to.
        num_types: Domains that have weights of their own; None where all tokens share them.
        domains: Those that were counted before, in the order of their numbers.

    Raises:
        TokenGroupError: If groups, patterns and tokens do not fit each other, or domains are not
            as many.
    """
    if callable(patterns):
        patterns = patterns(tuple([name for name, _ in layout]))
    sizes = group_sizes(layout, tokens)
    patterns = patterns_for(sizes, patterns)
    present = {name: size for name, size in sizes.items() if size is not None}

    calls = _calls(patterns, sizes)
    # Keys in a cache are those of the batch as it is, so none is stacked there.
    if not storing and not torch.compiler.is_compiling():
        calls = _stacked(calls, present)

    fresh = _fresh(calls, patterns if storing else (), present)
    wanted = [call.keys for call in calls]
    if storing:
        wanted += [(name,) for name in fresh]
    keys = split_groups({name: present[name] for name in fresh}, wanted)

    plan = Plan(
        calls=calls,
        queries=split_groups(present, [call.queries for call in calls]),
        fresh=fresh,
        attended=split_groups(present, [fresh]),
        key_lengths=keys.lengths,
        keys=keys.selections[: len(calls)],
        stored=keys.selections[len(calls) :],
        is_whole=_is_whole(calls, fresh, storing),
    )
    return plan if num_types is None else _by_domain(plan, layout, num_types, domains)


remembered_plan = functools.lru_cache(maxsize=256)(plan_for)
"""`plan_for`, worked out once for the same layout; graphs call the function itself."""


def _by_domain(plan: Plan, layout: Layout, num_types: int, known: tuple[str, ...]) -> Plan:
    """Return *plan* with what it says of domains, counted behind those that are *known*."""
    before = tuple([(domain, None) for domain in known])  # named as a group that has no tokens here
    numbers = number_domains((*before, *layout), num_types)
    sizes = dict(layout)
    keys = [(name, sizes[name]) for name in plan.fresh]
    return plan._replace(
        domains=tuple(numbers),
        query_runs=runs_of(layout, numbers),
        key_runs=runs_of(keys, numbers),
    )


def _calls(patterns: Sequence[Pattern], sizes: Mapping[str, int | None]) -> tuple[KernelCall, ...]:
    """Return the calls of the kernel: groups that attend to the same keys attend together."""
    keys_of: dict[str, tuple[str, ...]] = {}
    for pattern in patterns:
        keys: list[str] = []
        for name in sizes:
            # A group that is named twice counts twice, as its keys would in one softmax.
            keys += [name] * pattern.keys.count(name)
        for query in pattern.queries:
            keys_of[query] = tuple(keys)

    queries_of: dict[tuple[str, ...], list[str]] = {}
    for name, size in sizes.items():
        if size is not None:
            queries_of.setdefault(keys_of[name], []).append(name)

    calls = []
    for attended, queries in queries_of.items():
        fresh = [name for name in attended if sizes[name] is not None]
        cached = [name for name in attended if sizes[name] is None]
        calls.append(KernelCall(tuple(queries), tuple(fresh), tuple(cached), parts=1))
    return tuple(calls)


def _stacked(calls: tuple[KernelCall, ...], sizes: Mapping[str, int]) -> tuple[KernelCall, ...]:
    """Return *calls* as one call in which each is an entry of the batch, if they can be.

    They can if they have equally many queries and equally many keys, no group is attended to in two
    of them or comes from a cache, and the queries of each stand behind those of the one before.
    """
    queries: list[str] = []
    keys: list[str] = []
    for call in calls:
        queries += call.queries
        keys += call.keys

    stand_in_order = queries == list(sizes)
    is_repeated = len(set(keys)) < len(keys)
    is_cached = any(call.cached for call in calls)
    if is_repeated or is_cached or not stand_in_order:
        return calls

    query_counts = {_tokens(call.queries, sizes) for call in calls}
    key_counts = {_tokens(call.keys, sizes) for call in calls}
    if len(query_counts) != 1 or len(key_counts) != 1:
        return calls
    return (KernelCall(tuple(queries), tuple(keys), (), parts=len(calls)),)


def _tokens(names: Sequence[str], sizes: Mapping[str, int]) -> int:
    return sum([sizes[name] for name in names])


def _fresh(
    calls: Sequence[KernelCall], patterns: Sequence[Pattern], sizes: Mapping[str, int]
) -> tuple[str, ...]:
    """Return the groups whose keys and values are made: what *calls* or *patterns* attend to."""
    attended: dict[str, None] = {}
    for call in calls:
        attended.update(dict.fromkeys(call.keys))
    for pattern in patterns:
        attended.update(dict.fromkeys([name for name in pattern.keys if name in sizes]))

    if any(call.parts > 1 for call in calls):
        # Parts of the batch stand in the order of the calls, whatever that of the input.
        return tuple(attended)
    return tuple([name for name in sizes if name in attended])


def _is_whole(calls: Sequence[KernelCall], fresh: tuple[str, ...], storing: bool) -> bool:
    """Return whether one call of the kernel takes all queries, all that is fresh, and no other."""
    if storing or len(calls) != 1:
        return False
    (call,) = calls
    return call.cached == () and call.keys == fresh
