"""Options of sliding-window attention."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge

from noether_core.schemas import AttentionConfig


@attrs.frozen(kw_only=True)
class WindowAttentionConfig(AttentionConfig):
    """Options of sliding-window attention."""

    type: Literal["acme_window"] = "acme_window"
    """Every token reads the tokens at most a window away."""

    window: Annotated[int, Ge(1)] = 256
    """Tokens that each query sees on either side."""
