"""Options of neighbourhood attention on irregular points."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge, Gt, Interval

from noether_core.schemas import AttentionConfig, Because


@attrs.frozen(kw_only=True)
class IrregularNatAttentionConfig(AttentionConfig):
    """Every point attends to the points nearest to it, and sees where they are."""

    type: Literal["irregular_nat"] = "irregular_nat"
    """Neighbourhood attention on irregular points."""

    use_rope: Annotated[
        Literal[False], Because("relative positions enter as a bias of the logits")
    ] = False
    """Not for this variant: relative positions enter as a bias of the logits."""

    input_dim: Annotated[int, Ge(1)]
    """Coordinates of a point."""

    radius: Annotated[float, Gt(0)] = 0.1
    """Farthest that a neighbour may be, in the unit of the positions."""

    max_degree: Annotated[int, Ge(1)] = 16
    """Most neighbours of a point, itself included; the nearest are taken."""

    relpos_mlp_hidden_dim: Annotated[int, Ge(1)] = 32
    """Inner width of the MLP from relative positions to a bias of every head."""

    relpos_mlp_dropout: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Probability of dropping an inner feature of that MLP, in training."""
