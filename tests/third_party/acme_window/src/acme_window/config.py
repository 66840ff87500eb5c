"""Options of sliding-window attention."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge

from noether_core.schemas import AttentionConfig


@attrs.frozen(kw_only=True)
class WindowAttentionConfig(AttentionConfig):
    """Every token attends to the tokens at most a window away."""

    type: Literal["acme_window"] = "acme_window"
    """Sliding-window attention."""

    window: Annotated[int, Ge(1)] = 256
    """Tokens that each query sees on either side."""
