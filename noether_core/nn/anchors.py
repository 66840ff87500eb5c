"""Which tokens of a branch are its anchors, and the order of tokens that puts them first."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from noether_core.errors import TokenGroupError

ONE_GROUP = "tokens"
"""Name of the group of all tokens, where the caller names none."""


class AnchorCount(NamedTuple):
    """How many of the tokens of a branch are anchors: a share of them, and at most a number."""

    numerator: int
    denominator: int
    most: int | None

    @classmethod
    def of(cls, anchors: float) -> Self:
        """Return the count that a number of tokens (an int) or a fraction (a float) means."""
        if isinstance(anchors, int):
            return cls(1, 1, anchors)
        # The decimal that was meant: 0.1 of 30 tokens are 3, and the float is a bit more than 0.1.
        share = Fraction(anchors).limit_denominator(1 << 20)
        return cls(share.numerator, share.denominator, None)

    def within(self, size: Any) -> Any:
        """Return how many of *size* tokens are anchors; for numbers and for tensors of numbers."""
        share = (size * self.numerator + self.denominator - 1) // self.denominator
        if self.most is None:
            return share
        return share.clamp(max=self.most) if isinstance(share, Tensor) else min(share, self.most)


class AnchorRule(NamedTuple):
    """How branches and their anchors are named, and how many anchors there are."""

    branches: tuple[str, ...] | None
    """The branches; None where every group of a call is one."""

    suffix: str
    """What follows a branch in the name of its anchors."""

    anchors: AnchorCount
    """How many of the tokens of a branch are anchors."""


class _Branch(NamedTuple):
    """The tokens of one branch in a call."""

    name: str

    size: int
    """How many there are, padding included."""

    members: Tensor
    """Which these are, booleans ``(1 or batch, tokens)``."""

    n_chosen: int | None = None
    """How many anchors the caller chose; None where they are to be chosen here."""

    chosen: Tensor | None = None
    """Which these are."""


def arrange(
    real: Tensor, groups: Mapping[str, int] | None, rule: AnchorRule
) -> tuple[dict[str, int], Tensor]:
    """Return the groups that a variant with anchors is given, and the tokens in their order.

    Branch by branch, anchors first. Every sample has anchors of its own, evenly spread over its
    real tokens: padding then changes nothing. Where it has fewer anchors than others, padding fills
    them up, which the mask hides.

    Args:
        real: ``(1 or batch, tokens)`` booleans, True for real tokens; one row where all are real.
        groups: Sizes of groups by name, in the order of the tokens. None for one group, whose
            tokens are dealt to the branches in turn. Where one has the name that anchors of a
            branch have, these are the anchors, and no others.
        rule: Names of branches and anchors.

    Returns:
        Sizes by name, and the numbers of the tokens, ``(1 or batch, tokens)``.

    Raises:
        TokenGroupError: If a group belongs to no branch, or a branch has no group.
    """
    sizes: dict[str, int] = {}
    keys = torch.zeros_like(real, dtype=torch.long)
    branches = _branches(real, groups, rule)
    names = [branch.name for branch in branches]
    for number, branch in enumerate(branches):
        if branch.chosen is None:
            n_anchors = rule.anchors.within(branch.size)
            is_anchor = _evenly_spread(branch.members & real, rule.anchors)
            # There is always enough padding: the shares of real tokens and of padding, each rounded
            # up, are together no less than the share of all.
            rank = torch.where(is_anchor, 0, torch.where(real, 2, 1))
        else:
            n_anchors = branch.n_chosen
            rank = torch.where(branch.chosen, 0, 1)
        keys = torch.where(branch.members, 3 * number + rank, keys)

        sizes[branch.name + rule.suffix] = n_anchors
        sizes[_name_of_others(branch.name, names, rule.suffix)] = branch.size - n_anchors
    return sizes, keys.argsort(dim=-1, stable=True)


def reordered(tensor: Tensor, order: Tensor) -> Tensor:
    """Return tokens ``(batch, tokens, ...)`` in an order ``(1 or batch, tokens)``."""
    if order.shape[0] == 1:
        return tensor.index_select(1, order[0])
    each_feature = order.view(*order.shape, *itertools.repeat(1, tensor.dim() - 2))
    return tensor.gather(1, each_feature.expand(tensor.shape))


def _branches(real: Tensor, groups: Mapping[str, int] | None, rule: AnchorRule) -> list[_Branch]:
    """Return the branches of a call, each with its tokens."""
    if groups is None:
        return _dealt(real, rule.branches or (ONE_GROUP,))
    names = rule.branches or tuple(groups)
    owners = {group: _owner(group, names, rule.suffix) for group in groups}
    branch_of = _of_each_token(
        groups, {group: names.index(owners[group]) for group in groups}, real
    )

    branches: list[_Branch] = []
    for number, name in enumerate(names):
        own = [group for group in groups if owners[group] == name]
        if not own:
            raise TokenGroupError(
                f"groups: branch {name!r} has no group; the groups are {_quoted(groups)}"
            )
        size = sum(groups[group] for group in own)
        anchors = name + rule.suffix
        branch = _Branch(name, size, branch_of == number)
        if anchors in groups:
            chosen = _of_each_token(groups, {group: group == anchors for group in groups}, real)
            branch = branch._replace(n_chosen=groups[anchors], chosen=chosen)
        branches.append(branch)
    return branches


def _dealt(real: Tensor, names: tuple[str, ...]) -> list[_Branch]:
    """Deal real tokens to branches in turn, and then padding."""
    tokens, count = real.shape[-1], len(names)
    behind_real = real.sum(dim=-1, keepdim=True) + (~real).cumsum(dim=-1) - 1
    turn = torch.where(real, real.cumsum(dim=-1) - 1, behind_real) % count
    return [
        _Branch(name, (tokens + count - 1 - number) // count, turn == number)
        for number, name in enumerate(names)
    ]


def _of_each_token(groups: Mapping[str, int], values: Mapping[str, int], like: Tensor) -> Tensor:
    """Return ``(1, tokens)``: for each token the value of its group."""
    pieces = [
        torch.full((1, size), values[group], device=like.device) for group, size in groups.items()
    ]
    return torch.cat(pieces, dim=1) if pieces else torch.zeros_like(like[:1], dtype=torch.long)


def _evenly_spread(candidates: Tensor, count: AnchorCount) -> Tensor:
    """Return which of the candidates, booleans ``(..., tokens)``, are anchors.

    Candidate ``k`` of ``n`` is one of ``m`` anchors where a multiple of ``n / m`` lies in
    ``[k, k + 1)``; so the first always is.
    """
    n = candidates.sum(dim=-1, keepdim=True)
    m: Tensor = count.within(n)
    n = n.clamp(min=1)  # a sample without candidates has no anchors, whatever is divided here
    behind = candidates.cumsum(dim=-1)
    multiples_below = ((behind - 1) * m + n - 1) // n
    multiples_below_next = (behind * m + n - 1) // n
    return candidates & (multiples_below_next > multiples_below)


def _owner(group: str, branches: tuple[str, ...], suffix: str) -> str:
    """Return the branch that a group belongs to: the longest that is its name, or begins it."""
    named_for = [
        branch
        for branch in branches
        if group in (branch, branch + suffix) or group.startswith(f"{branch}_")
    ]
    if not named_for:
        raise TokenGroupError(
            f"groups: {group!r} belongs to no branch of {_quoted(branches)}; "
            f"name it for one, such as {branches[0]!r}"
        )
    return max(named_for, key=len)


def _name_of_others(branch: str, branches: Collection[str], suffix: str) -> str:
    """Return the name of the tokens of a branch that are no anchors."""
    name = f"{branch}_queries"
    # The name itself is the branch's too, and free: anchors have a suffix, where this one is taken.
    return branch if name == branch + suffix or name in branches else name


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
