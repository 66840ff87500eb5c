"""Which groups of tokens read which: checked once, then followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from noether_core import AttentionPattern, TokenGroupError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable


class Reading(NamedTuple):
    """What an `AttentionPattern` says, as names alone; compilers trace through making one."""

    query_tokens: tuple[str, ...]
    """Names of the groups that ask."""

    key_value_tokens: tuple[str, ...]
    """Names of the groups that answer, in the order of their keys."""


Rule: TypeAlias = "Callable[[tuple[str, ...]], tuple[Reading, ...]]"
"""Which groups read which, from the names of the groups; hashable, and equal to those that say the
same.
"""


def readings_of(
    patterns: Iterable[AttentionPattern] | Rule | None,
) -> tuple[Reading, ...] | Rule | None:
    """Return what *patterns* say, if there are any; a rule as it is.

    Raises:
        TokenGroupError: If one of them is no pattern.
    """
    if patterns is None or callable(patterns):
        return patterns
    readings: list[Reading] = []
    for pattern in patterns:
        if isinstance(pattern, AttentionPattern):
            readings.append(Reading(pattern.query_tokens, pattern.key_value_tokens))
        else:
            raise TokenGroupError(
                f"attention_patterns: expected a list of AttentionPattern, got a {type(pattern).__name__} in it"
            )
    return tuple(readings)


def readings_among(
    groups: Collection[str], readings: tuple[Reading, ...] | None
) -> tuple[Reading, ...]:
    """Return *readings*, once it is sure that they fit the groups; where there are none, every
    group reads every group.

    Args:
        groups: Names of all groups.
        readings: Which groups read which.

    Raises:
        TokenGroupError: If a group is a query in several patterns or in none, or a pattern names
            what is no group.
    """
    if readings is None:
        return (Reading(tuple(groups), tuple(groups)),)
    _check_queries(readings, groups)
    for number, reading in enumerate(readings):
        for name in reading.key_value_tokens:
            if name not in groups:
                raise TokenGroupError(
                    f"attention_patterns[{number}].key_value_tokens: {name!r} is not defined in `token_specs`, "
                    f"which define {_listed(groups)}"
                )
    return readings


def _check_queries(readings: tuple[Reading, ...], groups: Collection[str]) -> None:
    """Check that every group asks in exactly one pattern."""
    asked: dict[str, int] = {}
    for number, reading in enumerate(readings):
        for name in reading.query_tokens:
            if name in asked:
                raise TokenGroupError(
                    f"attention_patterns: {name!r} cannot be a query in multiple patterns, "
                    f"and stands in attention_patterns[{asked[name]}] and attention_patterns[{number}]"
                )
            asked[name] = number
    if set(asked) != set(groups):
        raise TokenGroupError(
            "attention_patterns: the set of query tokens must exactly match the groups of `token_specs`; "
            f"the {len(asked)} queries are {_listed(asked)}, the {len(groups)} groups are {_listed(groups)}"
        )


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
