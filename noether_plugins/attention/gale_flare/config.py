"""Options of GALE with latents."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge, Gt

from noether_core.schemas import AttentionConfig, Backend, Because

Mixing = Literal["weighted", "concat_project"]


@attrs.frozen(kw_only=True)
class GALEFLAREAttentionConfig(AttentionConfig):
    """Tokens attend to each other through latents as in flare, and to a context."""

    type: Literal["gale_flare"] = "gale_flare"
    """Tokens exchange through latents, and attend to a context."""

    use_rope: Annotated[Literal[False], Because("latents have no position to rotate by")] = False
    """Not for this variant: latents have no position."""

    qk_norm: Annotated[Literal[False], Because("latents and keys attend without norms")] = False
    """Not for this variant: latents and keys attend without norms."""

    num_latents: Annotated[int, Ge(1)] = 64
    """Latents that the tokens of each head exchange through."""

    attn_scale: Annotated[float, Gt(0)] = 1.0
    """Factor of the logits of all three attentions."""

    context_dim: Annotated[int, Ge(1)] | None = None
    """Width of the tokens of a context; None for a module that takes none."""

    mixing: Mixing = "weighted"
    """What mixes attention through latents with that to the context: one learned number,
    ``"weighted"``, or a layer over both, ``"concat_project"``.
    """

    backend: Backend = "auto"
    """Kernel that computes attention: torch's choice, or one by name; ``"math"`` has second
    derivatives.
    """

    chunk_size: Annotated[int, Ge(1)] | None = None
    """Tokens that are computed at once where gradients are not needed; None chooses by the sizes.
    """
