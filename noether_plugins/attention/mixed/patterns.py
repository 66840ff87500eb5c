"""Which groups of tokens read which: checked once, then followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from noether_core import AttentionPattern, TokenGroupError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


class Reading(NamedTuple):
    """Groups that ask together, and the groups that answer them."""

    queries: tuple[str, ...]
    """Names of the groups that ask."""

    keys: tuple[str, ...]
    """Names of the groups that answer, in the order of their keys."""


def readings_of(patterns: Sequence[AttentionPattern] | None, groups: Collection[str]) -> tuple[Reading, ...]:
    """Return what *patterns* say of *groups*; every group reads every other where there are none.

    Args:
        patterns: Which groups attend to which.
        groups: Names of all groups.

    Raises:
        TokenGroupError: If a group is a query in several patterns or in none, or a pattern names what is no group.
    """
    if patterns is None:
        return (Reading(tuple(groups), tuple(groups)),)
    readings = tuple(Reading(tuple(pattern.query_tokens), tuple(pattern.key_value_tokens)) for pattern in patterns)
    _check_queries(readings, groups)
    for number, reading in enumerate(readings):
        for name in reading.keys:
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
        for name in reading.queries:
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
