"""Options of induced set attention."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge

from noether_core.schemas import AttentionConfig, Backend, Because


@attrs.frozen(kw_only=True)
class InducedSetAttentionConfig(AttentionConfig):
    """Learned points attend to the tokens, and the tokens to what these became."""

    type: Literal["induced_set"] = "induced_set"
    """Induced set attention."""

    use_rope: Annotated[Literal[False], Because("learned points have no position to rotate by")] = (
        False
    )
    """Not for this variant: learned points have no position."""

    num_latents: Annotated[int, Ge(1)] = 64
    """Learned points that the tokens exchange through."""

    backend: Backend = "auto"
    """Kernel that computes attention: torch's choice, or one by name; ``"math"`` has second
    derivatives.
    """

    chunk_size: Annotated[int, Ge(1)] | None = None
    """Tokens that are computed at once where gradients are not needed; None chooses by the sizes.
    """
