"""Options of the anchor family."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import MinLen

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


@attrs.frozen(kw_only=True)
class SelfAnchorAttentionConfig(MultiBranchAnchorAttentionConfig):
    """Options of self-anchor attention."""

    type: Literal["self_anchor"] = "self_anchor"
    """The tokens of a branch read the anchors of that branch."""


@attrs.frozen(kw_only=True)
class CrossAnchorAttentionConfig(MultiBranchAnchorAttentionConfig):
    """Options of cross-anchor attention."""

    type: Literal["cross_anchor"] = "cross_anchor"
    """The tokens of a branch read the anchors of the other branches."""

    branches: Annotated[tuple[BranchName, ...], MinLen(2), Distinct()]
    """Names of the branches; a group belongs to the longest one that is its name, or starts it
    before an underscore.
    """


@attrs.frozen(kw_only=True)
class JointAnchorAttentionConfig(MultiBranchAnchorAttentionConfig):
    """Options of joint-anchor attention."""

    type: Literal["joint_anchor"] = "joint_anchor"
    """Every token reads the anchors of all branches."""

    branches: Annotated[tuple[BranchName, ...], MinLen(2), Distinct()]
    """Names of the branches; a group belongs to the longest one that is its name, or starts it
    before an underscore.
    """
