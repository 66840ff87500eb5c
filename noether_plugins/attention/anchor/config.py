"""Options of the anchor family."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge, MinLen

from noether_core.schemas import AttentionConfig, Backend, Distinct

BranchName = Annotated[str, MinLen(1)]


@attrs.frozen(kw_only=True)
class MultiBranchAnchorAttentionConfig(AttentionConfig):
    """Options that every anchor attention has; it is no variant itself."""

    branches: Annotated[tuple[BranchName, ...], MinLen(1), Distinct()]
    """Names of the branches; a group belongs to the longest one that is its name, or starts it
    before an underscore.
    """

    anchor_suffix: str = "_anchors"
    """What follows the name of a branch in the name of its anchors."""

    backend: Backend = "auto"
    """Kernel that computes attention: torch's choice, or one by name; ``"math"`` has second
    derivatives.
    """

    num_types: Annotated[int, Ge(1)] | None = None
    """Domains of groups that have weights of their own, by the names of groups before their first
    underscore; None where all share them.
    """


@attrs.frozen(kw_only=True)
class SelfAnchorAttentionConfig(MultiBranchAnchorAttentionConfig):
    """Groups of tokens attend to the anchors of their own branch."""

    type: Literal["self_anchor"] = "self_anchor"
    """Self-anchor attention."""


@attrs.frozen(kw_only=True)
class CrossAnchorAttentionConfig(MultiBranchAnchorAttentionConfig):
    """Groups of tokens attend to the anchors of the other branches."""

    type: Literal["cross_anchor"] = "cross_anchor"
    """Cross-anchor attention."""

    branches: Annotated[tuple[BranchName, ...], MinLen(2), Distinct()]
    """Names of the branches; a group belongs to the longest one that is its name, or starts it
    before an underscore.
    """


@attrs.frozen(kw_only=True)
class JointAnchorAttentionConfig(MultiBranchAnchorAttentionConfig):
    """Groups of tokens attend to the anchors of all branches."""

    type: Literal["joint_anchor"] = "joint_anchor"
    """Joint-anchor attention."""

    branches: Annotated[tuple[BranchName, ...], MinLen(2), Distinct()]
    """Names of the branches; a group belongs to the longest one that is its name, or starts it
    before an underscore.
    """
