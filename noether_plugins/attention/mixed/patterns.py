"""Which groups attend to which: the patterns of a call, checked against its groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import attrs

from noether_core import AttentionPattern, TokenGroupError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable


class Pattern(NamedTuple):
    """What an `AttentionPattern` says, as names alone; compilers trace through making one."""

    queries: tuple[str, ...]
    """Names of the groups that attend."""

    keys: tuple[str, ...]
    """Names of the groups that they attend to, in the order of their keys."""


PatternRule: TypeAlias = "Callable[[tuple[str, ...]], tuple[Pattern, ...]]"
"""Makes the patterns of a call from the names of its groups.

It is hashable, and equal to rules that make the same: plans are remembered by it.
"""


def name_gathered(name: str) -> str:
    """Return by what name a group that was gathered is attended to, beside its own tokens.

    It is of the same domain.
    """
    return f"{name}_(gathered)"


@attrs.frozen
class GatheredRule:
    """Makes the patterns of a call whose tokens attend to groups that were gathered, and no others.

    It is called with the groups of the call, which have their own names, and those that were
    gathered, which `name_gathered` names.
    """

    patterns: tuple[Pattern, ...] | PatternRule | None
    """Which groups attend to which."""

    named: tuple[str, ...]
    """The groups that the call names."""

    gathered: tuple[str, ...]
    """The groups that were gathered."""

    def __call__(self, groups: tuple[str, ...]) -> tuple[Pattern, ...]:
        """Return which of *groups* attend to which."""
        every = tuple(dict.fromkeys((*self.named, *self.gathered)))
        patterns = self.patterns(every) if callable(self.patterns) else self.patterns
        found = []
        for queries, keys in patterns_for(every, patterns):
            own = [name for name in queries if name in groups]
            # Groups that have no tokens are queries too.
            own += [name_gathered(name) for name in queries if name in self.gathered]
            found.append(Pattern(tuple(own), tuple([self._gathered(name) for name in keys])))
        return tuple(found)

    def _gathered(self, name: str) -> str:
        if name not in self.gathered:
            raise TokenGroupError(
                f"token_specs: {name!r} is attended to, and was not gathered; the summary holds "
                f"{quoted_names(self.gathered)}"
            )
        return name_gathered(name)


def patterns_as_names(
    patterns: Iterable[AttentionPattern] | PatternRule | None,
) -> tuple[Pattern, ...] | PatternRule | None:
    """Return what *patterns* say; a rule and None as they are.

    Raises:
        TokenGroupError: If one of them is no `AttentionPattern`.
    """
    if patterns is None or callable(patterns):
        return patterns

    named = []
    for pattern in patterns:
        if not isinstance(pattern, AttentionPattern):
            raise TokenGroupError(
                "attention_patterns: expected a list of AttentionPattern, "
                f"got a {type(pattern).__name__} in it"
            )
        named.append(Pattern(pattern.query_tokens, pattern.key_value_tokens))
    return tuple(named)


def patterns_for(
    groups: Collection[str], patterns: tuple[Pattern, ...] | None
) -> tuple[Pattern, ...]:
    """Return *patterns* once they fit the groups; None lets every group attend to every group.

    Args:
        groups: Names of all groups.
        patterns: Which groups attend to which.

    Raises:
        TokenGroupError: If a group is a query in several patterns or in none, or a pattern names
            what is no group.
    """
    if patterns is None:
        everything = tuple(groups)
        return (Pattern(everything, everything),)

    _check_queries(patterns, groups)
    _check_keys(patterns, groups)
    return patterns


def _check_queries(patterns: tuple[Pattern, ...], groups: Collection[str]) -> None:
    """Check that every group is a query in exactly one pattern."""
    number_of: dict[str, int] = {}
    for number, pattern in enumerate(patterns):
        for name in pattern.queries:
            if name in number_of:
                raise TokenGroupError(
                    f"attention_patterns: {name!r} cannot be a query in multiple patterns, and "
                    f"stands in attention_patterns[{number_of[name]}] and "
                    f"attention_patterns[{number}]"
                )
            number_of[name] = number

    if set(number_of) != set(groups):
        raise TokenGroupError(
            "attention_patterns: the set of query tokens must exactly match the groups of "
            f"`token_specs`; the {len(number_of)} queries are {quoted_names(number_of)}, "
            f"the {len(groups)} groups are {quoted_names(groups)}"
        )


def _check_keys(patterns: tuple[Pattern, ...], groups: Collection[str]) -> None:
    """Check that patterns attend to groups alone."""
    for number, pattern in enumerate(patterns):
        for name in pattern.keys:
            if name not in groups:
                raise TokenGroupError(
                    f"attention_patterns[{number}].key_value_tokens: {name!r} is not defined in "
                    f"`token_specs`, which define {quoted_names(groups)}"
                )


def quoted_names(names: Collection[str]) -> str:
    """Return names as messages list them: ``'surface', 'volume'``."""
    return ", ".join(map(repr, names)) or "none"
