"""Options of dot-product attention."""

from __future__ import annotations

from typing import Literal

import attrs

from noether_core.schemas import AttentionConfig


@attrs.frozen(kw_only=True)
class DotProductAttentionConfig(AttentionConfig):
    """Options of dot-product attention."""

    type: Literal["dot_product"] = "dot_product"
    """Every token reads every other."""
