"""Which groups of tokens read which: checked once, then followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from noether_core import AttentionPattern, TokenGroupError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


class Reading(NamedTuple):
    """What an `AttentionPattern` says, as names alone; compilers trace through making one."""

    query_tokens: tuple[str, ...]
    """Names of the groups that ask."""

    key_value_tokens: tuple[str, ...]
    """Names of the groups that answer, in the order of their keys."""


def readings_of(patterns: Sequence[AttentionPattern | Reading] | None, groups: Collection[str]) -> tuple[Reading, ...]:
    """Return what *patterns* say of *groups*; every group reads every other where there are none.

    Args:
        patterns: Which groups attend to which.
        groups: Names of all groups.

    Raises:
        TokenGroupError: If a group is a query in several patterns or in none, or a pattern names what is no group.
    """
    if patterns is None:
        return (Reading(tuple(groups), tuple(groups)),)
    patterns = tuple(patterns)
    for pattern in patterns:
        if not isinstance(pattern, (AttentionPattern, Reading)):
            raise TokenGroupError(
                f"attention_patterns: expected a list of AttentionPattern, got a {type(pattern).__name__} in it"
            )
    readings = tuple(Reading(pattern.query_tokens, pattern.key_value_tokens) for pattern in patterns)
    _check_queries(readings, groups)
    for number, reading in enumerate(readings):
        for name in reading.key_value_tokens:
            if name not in groups:
                raise TokenGroupError(
                    f"attention_patterns[{number}].key_value_tokens: {name!r} is not defined in `token_specs`, "
                    f"which define {_listed(groups)}"
                )
    return readings


def groups_read(readings: Iterable[Reading], groups: Iterable[str]) -> list[str]:
    """Return those of *groups* that some reading takes keys from, in their order."""
    read = {name for reading in readings for name in reading.key_value_tokens}
    return [name for name in groups if name in read]


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
