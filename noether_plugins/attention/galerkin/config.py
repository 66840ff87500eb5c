"""Options of Galerkin attention."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge

from noether_core.schemas import AttentionConfig, Because


@attrs.frozen(kw_only=True)
class GalerkinAttentionConfig(AttentionConfig):
    """Queries times the mean product of normalised keys and values: linear, without a softmax."""

    type: Literal["galerkin"] = "galerkin"
    """Galerkin attention."""

    use_rope: Annotated[
        Literal[False], Because("positions are part of the tokens, as in the paper")
    ] = False
    """Not for this variant: positions are part of the tokens, as in the paper."""

    qk_norm: bool = False
    """Normalise queries by their root mean square over a head; keys are normalised in any case."""

    chunk_size: Annotated[int, Ge(1)] | None = None
    """Tokens that are computed at once where gradients are not needed; None chooses by the sizes.
    """
