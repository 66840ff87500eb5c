"""Options of mixed attention."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge

from noether_plugins.attention.dot_product.config import DotProductAttentionConfig


@attrs.frozen(kw_only=True)
class MixedAttentionConfig(DotProductAttentionConfig):
    """Groups of tokens attend to the groups that patterns of the call name for them."""

    # Mypy sees another literal than the parent's; it is another variant with the same options.
    type: Literal["mixed"] = "mixed"  # type: ignore[assignment]
    """Mixed attention."""

    num_types: Annotated[int, Ge(1)] | None = None
    """Domains of groups that have weights of their own, by the names of groups before their first
    underscore; None where all share them.
    """
