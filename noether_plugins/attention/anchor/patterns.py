"""Which groups of tokens read which anchors: three patterns over branches."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import attrs

from noether_plugins.attention.anchor.errors import (
    MissingAnchorTokenError,
    MissingBranchTokensError,
    UnexpectedTokenError,
)
from noether_plugins.attention.mixed.patterns import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Branches(NamedTuple):
    """The groups of a call, by branch."""

    groups: tuple[str, ...]
    """All groups, in the order of the input."""

    members: Mapping[str, tuple[str, ...]]
    """The groups of each branch."""

    anchors: Mapping[str, str]
    """The group of each branch that is read."""


@attrs.frozen
class BranchRule:
    """Says who reads whom among groups, by their branches."""

    branches: tuple[str, ...]
    anchor_suffix: str
    patterns_of: Callable[[Branches], tuple[Reading, ...]]

    def __call__(self, groups: tuple[str, ...]) -> tuple[Reading, ...]:
        """Return the patterns among *groups*."""
        return self.patterns_of(branches_of(groups, self.branches, self.anchor_suffix))


def self_patterns(branches: Branches) -> tuple[Reading, ...]:
    """Return the patterns in which each branch reads its own anchors."""
    return tuple(
        Reading(members, (branches.anchors[branch],))
        for branch, members in branches.members.items()
    )


def cross_patterns(branches: Branches) -> tuple[Reading, ...]:
    """Return the patterns in which each branch reads the anchors of the others, in their order."""
    return tuple(
        Reading(
            members, tuple(anchor for other, anchor in branches.anchors.items() if other != branch)
        )
        for branch, members in branches.members.items()
    )


def joint_patterns(branches: Branches) -> tuple[Reading, ...]:
    """Return the pattern in which every group reads the anchors of all branches."""
    return (Reading(branches.groups, tuple(branches.anchors.values())),)


def branches_of(groups: tuple[str, ...], branches: Sequence[str], anchor_suffix: str) -> Branches:
    """Return which groups belong to which branch, and which of them are its anchors.

    Args:
        groups: Names of the groups of a call. One belongs to the longest branch that is its name,
            that its name continues after an underscore, or whose anchors it names.
        branches: Names of the branches.
        anchor_suffix: What follows a branch in the name of its anchors.

    Raises:
        UnexpectedTokenError: If a group belongs to no branch.
        MissingBranchTokensError: If a branch has no group.
        MissingAnchorTokenError: If a branch has no anchors.
    """
    anchors = {branch: branch + anchor_suffix for branch in branches}
    members: dict[str, list[str]] = {branch: [] for branch in branches}
    for group in groups:
        members[_owner(group, anchors)].append(group)
    for branch, own in members.items():
        if not own:
            raise MissingBranchTokensError(
                f"token_specs: branch {branch!r} has no group of tokens; the groups are {_listed(groups)}"
            )
        if anchors[branch] not in groups:
            raise MissingAnchorTokenError(
                f"token_specs: branch {branch!r} has no anchors {anchors[branch]!r}; its groups are {_listed(own)}"
            )
    return Branches(groups, {branch: tuple(own) for branch, own in members.items()}, anchors)


def _owner(group: str, anchors: Mapping[str, str]) -> str:
    """Return the branch that a group belongs to."""
    named_for = [
        branch
        for branch, anchor in anchors.items()
        if group in (branch, anchor) or group.startswith(f"{branch}_")
    ]
    if not named_for:
        raise UnexpectedTokenError(
            f"token_specs: {group!r} belongs to no branch of {_listed(tuple(anchors))}; name it for one, "
            f"such as {next(iter(anchors)) + '_queries'!r}"
        )
    return max(named_for, key=len)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
