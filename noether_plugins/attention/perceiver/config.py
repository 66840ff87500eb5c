"""Options of cross-attention."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge

from noether_core.schemas import AttentionConfig, Backend


@attrs.frozen(kw_only=True)
class PerceiverAttentionConfig(AttentionConfig):
    """Every query token attends to every token of another set, which may be of another width."""

    type: Literal["perceiver"] = "perceiver"
    """Cross-attention."""

    kv_dim: Annotated[int, Ge(1)] | None = None
    """Width of the tokens that are attended to; None for ``hidden_dim``."""

    backend: Backend = "auto"
    """Kernel that computes attention: torch's choice, or one by name; ``"math"`` has second
    derivatives.
    """

    num_types: Annotated[int, Ge(1)] | None = None
    """Domains of queries that have weights of their own, by the names of groups before their first
    underscore; None where all share them.
    """

    chunk_size: Annotated[int, Ge(1)] | None = None
    """Tokens that are computed at once where gradients are not needed; None chooses by the sizes.
    """
