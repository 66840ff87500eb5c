"""Options of FLARE++."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge, Gt

from noether_core.schemas import AttentionConfig, Backend, Because


@attrs.frozen(kw_only=True)
class FLAREPlusPlusAttentionConfig(AttentionConfig):
    """Latents attend to the tokens twice, the second time as what they saw in the first."""

    type: Literal["flare_plusplus"] = "flare_plusplus"
    """FLARE++."""

    use_rope: Annotated[Literal[False], Because("latents have no position to rotate by")] = False
    """Not for this variant: latents have no position."""

    qk_norm: Annotated[
        Literal[False], Because("k_norm and q_fixed_norm say what is normalised")
    ] = False
    """Not for this variant, which has norms of its own: ``k_norm`` and ``q_fixed_norm``."""

    num_latents: Annotated[int, Ge(1)] = 64
    """Latents that the tokens of each head exchange through."""

    share_k0_v0: bool = True
    """Whether the keys that the first latents attend to are their values as well."""

    k_norm: bool = True
    """Whether keys are normalised over a head."""

    q_fixed_norm: bool = True
    """Whether the fixed part of the queries is normalised over a head."""

    rmsnorm: bool = False
    """Whether norms divide by the root mean square instead of subtracting the mean as well."""

    attn_scale: Annotated[float, Gt(0)] | None = None
    """Factor of the logits of all three attentions; None for ``1 / sqrt(head_dim)``."""

    gate_logit_init: float = 0.25
    """Start of the gate of each head: its sigmoid is the factor of what latents saw first."""

    backend: Backend = "auto"
    """Kernel that computes attention: torch's choice, or one by name; ``"math"`` has second
    derivatives.
    """

    chunk_size: Annotated[int, Ge(1)] | None = None
    """Tokens that are computed at once where gradients are not needed; None chooses by the sizes.
    """
