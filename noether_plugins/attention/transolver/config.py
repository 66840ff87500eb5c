"""Options of physics attention."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge

from noether_core.schemas import AttentionConfig, Because


@attrs.frozen(kw_only=True)
class TransolverAttentionConfig(AttentionConfig):
    """Tokens gather into slices of alike physical state, which attend to each other."""

    type: Literal["transolver"] = "transolver"
    """Tokens exchange through shared slices."""

    use_rope: Annotated[Literal[False], Because("slices have no position to rotate by")] = False
    """Not for this variant: slices have no position."""

    qk_norm: Annotated[Literal[False], Because("slices attend without norms")] = False
    """Not for this variant: slices attend without norms."""

    num_slices: Annotated[int, Ge(1)] = 512
    """Slices that the tokens of each head are gathered into."""

    backend: Annotated[
        Literal["auto", "sdpa", "math"], Because("slices attend to each other without a mask")
    ] = "auto"
    """Kernel: ``"auto"`` computes many tokens chunk by chunk; the others hold all slice weights;
    ``"math"`` has second derivatives."""

    chunk_size: Annotated[int, Ge(1)] | None = None
    """Tokens that ``"auto"`` computes at once; None chooses by the sizes."""
