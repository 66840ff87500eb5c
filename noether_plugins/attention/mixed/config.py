"""Options of mixed attention."""

from __future__ import annotations

from typing import Literal

import attrs

from noether_plugins.attention.dot_product.config import DotProductAttentionConfig


@attrs.frozen(kw_only=True)
class MixedAttentionConfig(DotProductAttentionConfig):
    """Options of mixed attention."""

    type: Literal["mixed"] = "mixed"  # type: ignore[assignment]  # a variant of its own with the options of its parent
    """Groups of tokens read each other in patterns of the caller."""
