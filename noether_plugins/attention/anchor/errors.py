"""What can be wrong with the groups that an anchor attention is given."""

from __future__ import annotations

from noether_core import TokenGroupError


class UnexpectedTokenError(TokenGroupError):
    """A group of tokens belongs to no branch."""


class MissingBranchTokensError(TokenGroupError):
    """A branch has no group of tokens."""


class MissingAnchorTokenError(TokenGroupError):
    """A branch has no anchors."""
