"""Options of physics attention."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge

from noether_core.schemas import AttentionConfig, Because


@attrs.frozen(kw_only=True)
class TransolverAttentionConfig(AttentionConfig):
    """Options of physics attention."""

    type: Literal["transolver"] = "transolver"
    """Tokens exchange through shared slices."""

    use_rope: Annotated[Literal[False], Because("slices have no position to rotate by")] = False
    """Not for this variant: slices have no position."""

    qk_norm: Annotated[Literal[False], Because("slices attend without norms")] = False
    """Not for this variant: slices attend without norms."""

    num_slices: Annotated[int, Ge(1)] = 512
    """Slices that the tokens of each head are gathered into."""
