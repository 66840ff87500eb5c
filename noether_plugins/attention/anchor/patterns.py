"""Which groups attend to which anchors: three patterns over branches, and what groups they need."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import attrs

from noether_core import TokenGroupError
from noether_plugins.attention.mixed.patterns import Pattern, quoted_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class UnexpectedTokenError(TokenGroupError):
    """A group of tokens belongs to no branch."""


class MissingBranchTokensError(TokenGroupError):
    """A branch has no group of tokens."""


class MissingAnchorTokenError(TokenGroupError):
    """A branch has no anchors."""


class Branches(NamedTuple):
    """The groups of a call, by branch."""

    groups: tuple[str, ...]
    """All groups, in the order of the input."""

    members: Mapping[str, tuple[str, ...]]
    """The groups of each branch, its anchors among them."""

    anchors: Mapping[str, str]
    """The group of anchors of each branch."""


@attrs.frozen
class BranchRule:
    """Makes the patterns of a call from the names of its groups, by their branches."""

    branches: tuple[str, ...]
    anchor_suffix: str
    patterns_of: Callable[[Branches], tuple[Pattern, ...]]

    def __call__(self, groups: tuple[str, ...]) -> tuple[Pattern, ...]:
        """Return which of *groups* attend to which."""
        return self.patterns_of(branches_of(groups, self.branches, self.anchor_suffix))


def self_patterns(branches: Branches) -> tuple[Pattern, ...]:
    """Return the patterns in which each branch attends to its own anchors."""
    patterns = []
    for branch, members in branches.members.items():
        patterns.append(Pattern(members, (branches.anchors[branch],)))
    return tuple(patterns)


def cross_patterns(branches: Branches) -> tuple[Pattern, ...]:
    """Return the patterns in which each branch attends to the anchors of the others."""
    patterns = []
    for branch, members in branches.members.items():
        others = [anchor for other, anchor in branches.anchors.items() if other != branch]
        patterns.append(Pattern(members, tuple(others)))
    return tuple(patterns)


def joint_patterns(branches: Branches) -> tuple[Pattern, ...]:
    """Return the pattern in which every group attends to the anchors of all branches."""
    return (Pattern(branches.groups, tuple(branches.anchors.values())),)


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
        members[_branch_of(group, anchors)].append(group)

    for branch, own in members.items():
        if not own:
            raise MissingBranchTokensError(
                f"token_specs: branch {branch!r} has no group of tokens; "
                f"the groups are {quoted_names(groups)}"
            )
        # Anchors may be of size None, and then come from a cache; they are named all the same.
        if anchors[branch] not in groups:
            raise MissingAnchorTokenError(
                f"token_specs: branch {branch!r} has no anchors {anchors[branch]!r}; "
                f"its groups are {quoted_names(own)}"
            )
    return Branches(groups, {branch: tuple(own) for branch, own in members.items()}, anchors)


def _branch_of(group: str, anchors: Mapping[str, str]) -> str:
    """Return the branch that a group belongs to: the longest whose name its own begins with."""
    candidates = [
        branch
        for branch, anchor in anchors.items()
        if group in (branch, anchor) or group.startswith(f"{branch}_")
    ]
    if not candidates:
        example = next(iter(anchors)) + "_queries"
        raise UnexpectedTokenError(
            f"token_specs: {group!r} belongs to no branch of {quoted_names(anchors)}; "
            f"name it for one, such as {example!r}"
        )
    # So branches `vol` and `volume` can stand side by side.
    return max(candidates, key=len)
