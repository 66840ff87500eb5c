"""Options of linear attention."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge

from noether_core import Problem
from noether_core.schemas import AttentionConfig, invariant

FeatureMap = Literal["elu", "relu", "softmax"]


@attrs.frozen(kw_only=True)
class LinearAttentionConfig(AttentionConfig):
    """Every token attends to every token, weighted by a product of features of query and key."""

    type: Literal["linear"] = "linear"
    """Linear attention."""

    feature_map: FeatureMap = "elu"
    """Features of queries and keys: positive numbers of each entry, ``elu + 1`` or ``relu``; or
    their softmax, of queries over a head and of keys over the tokens.
    """

    chunk_size: Annotated[int, Ge(1)] | None = None
    """Tokens that are computed at once where gradients are not needed; None chooses by the sizes.
    """

    @invariant
    @staticmethod
    def softmax_does_not_rotate(feature_map: FeatureMap, use_rope: bool) -> Problem | None:
        """Return a problem if shares, which add up to 1, are to be rotated."""
        if not (use_rope and feature_map == "softmax"):
            return None
        return Problem(
            keys=("use_rope",),
            message="with feature_map 'softmax', features are shares, and not rotated",
            value=use_rope,
            suggestion="take feature_map 'elu' or 'relu'",
        )
