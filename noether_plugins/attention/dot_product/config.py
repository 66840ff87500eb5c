"""Options of dot-product attention."""

from __future__ import annotations

from typing import Literal

import attrs

from noether_core.schemas import AttentionConfig, Backend


@attrs.frozen(kw_only=True)
class DotProductAttentionConfig(AttentionConfig):
    """Every token attends to every token, weighted by the likeness of query and key."""

    type: Literal["dot_product"] = "dot_product"
    """Dot-product attention."""

    backend: Backend = "auto"
    """Kernel that computes attention: torch's choice, or one by name; ``"math"`` has second
    derivatives.
    """
