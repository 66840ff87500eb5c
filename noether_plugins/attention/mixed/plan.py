"""What one call does with its tokens: worked out once for groups of the same names and sizes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import torch

from noether_core.nn import group_sizes
from noether_core.nn.groups import GroupSplit, Layout, split_groups
from noether_plugins.attention.mixed.patterns import Reading, Rule, readings_among

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Asking(NamedTuple):
    """Groups that ask in one call of the kernel, and those that answer."""

    queries: tuple[str, ...]
    """Groups of the input, in its order."""

    keys: tuple[str, ...]
    """Groups whose keys and values are made, one behind the other."""

    cached: tuple[str, ...]
    """Groups whose keys and values come from a cache."""

    shares: int
    """Into how many equal shares queries and keys fall; the first queries read the first keys, and
    so on.
    """


class Plan(NamedTuple):
    """What a call does."""

    calls: tuple[Asking, ...]
    """What the kernel is called for, by the first group that asks."""

    queries: GroupSplit
    """The input, cut for what asks in each of *calls*."""

    fresh: tuple[str, ...]
    """Groups whose keys and values are made, in the order in which they are."""

    answering: GroupSplit
    """The input, cut for the groups that are *fresh*."""

    keys: GroupSplit
    """Those, cut for what answers in each of *calls*, and then for each group that goes into a
    cache.
    """

    is_whole: bool
    """Whether all queries and all that is made of keys and values go into one call of the kernel,
    and nothing else.
    """


def plan_for(
    layout: Layout, readings: tuple[Reading, ...] | Rule | None, tokens: int, storing: bool
) -> Plan:
    """Return what a call does with groups.

    Queries of groups that read the same keys stand together, and keys stand in any order: attention
    is the same.

    Args:
        layout: The groups, in the order of the input, and their tokens; None for those that come
            from a cache.
        readings: Which groups read which, or the rule that says so.
        tokens: Number of tokens of the input.
        storing: Whether keys and values go into a cache; then those are made that nobody asks for
            in this call.

    Raises:
        TokenGroupError: If groups, patterns and tokens do not fit each other.
    """
    if callable(readings):
        readings = readings(tuple([name for name, _ in layout]))
    sizes = group_sizes(layout, tokens)
    readings = readings_among(sizes, readings)
    present = {name: size for name, size in sizes.items() if size is not None}
    calls = _calls(readings, sizes)
    if (
        not storing and not torch.compiler.is_compiling()
    ):  # a graph asks for no sizes, a cache keeps no shares
        calls = _shared(calls, present)

    fresh = _fresh(calls, readings if storing else (), present)
    wanted = [call.keys for call in calls] + [(name,) for name in fresh if storing]
    return Plan(
        calls=calls,
        queries=split_groups(present, [call.queries for call in calls]),
        fresh=fresh,
        answering=split_groups(present, [fresh]),
        keys=split_groups({name: present[name] for name in fresh}, wanted),
        is_whole=len(calls) == 1 and not (storing or calls[0].cached) and calls[0].keys == fresh,
    )


remembered_plan = functools.lru_cache(maxsize=256)(plan_for)
"""`plan_for`, worked out once for the same layout; graphs call the function itself."""


def _calls(readings: Sequence[Reading], sizes: Mapping[str, int | None]) -> tuple[Asking, ...]:
    """Return the groups that ask, those together that read the same."""
    reads = {
        name: tuple(key for key in sizes for _ in range(reading.key_value_tokens.count(key)))
        for reading in readings
        for name in reading.query_tokens
    }
    asking: dict[tuple[str, ...], list[str]] = {}
    for name, size in sizes.items():
        if size is not None:
            asking.setdefault(reads[name], []).append(name)
    return tuple(
        Asking(
            queries=tuple(queries),
            keys=tuple(name for name in keys if sizes[name] is not None),
            cached=tuple(name for name in keys if sizes[name] is None),
            shares=1,
        )
        for keys, queries in asking.items()
    )


def _shared(calls: tuple[Asking, ...], sizes: Mapping[str, int]) -> tuple[Asking, ...]:
    """Return *calls* in one, if they are of equal shape and their queries stand one behind the
    other.
    """
    queries = tuple(name for call in calls for name in call.queries)
    keys = tuple(name for call in calls for name in call.keys)
    apart = len(set(keys)) == len(keys) and not any(call.cached for call in calls)
    if apart and queries == tuple(sizes) and len({_shape(call, sizes) for call in calls}) == 1:
        return (Asking(queries, keys, (), len(calls)),)
    return calls


def _shape(call: Asking, sizes: Mapping[str, int]) -> tuple[int, int]:
    """Return the numbers of queries and keys."""
    return sum(sizes[name] for name in call.queries), sum(sizes[name] for name in call.keys)


def _fresh(
    calls: Sequence[Asking], readings: Sequence[Reading], sizes: Mapping[str, int]
) -> tuple[str, ...]:
    """Return whose keys and values are made: of groups that *calls* or *readings* read."""
    read = dict.fromkeys(name for call in calls for name in call.keys)
    read.update(
        dict.fromkeys(
            name for reading in readings for name in reading.key_value_tokens if name in sizes
        )
    )
    if any(call.shares > 1 for call in calls):
        return tuple(read)
    return tuple(name for name in sizes if name in read)
