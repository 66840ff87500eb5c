"""Options of FLARE."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge, Gt

from noether_core.schemas import AttentionConfig, Backend, Because

Activation = Literal["GELU", "GELU_TANH", "SILU"]


@attrs.frozen(kw_only=True)
class FLAREAttentionConfig(AttentionConfig):
    """Latents attend to the tokens, and the tokens to the latents: attention of low rank."""

    type: Literal["flare"] = "flare"
    """FLARE."""

    use_rope: Annotated[Literal[False], Because("latents have no position to rotate by")] = False
    """Not for this variant: latents have no position."""

    qk_norm: bool = False
    """Normalise latents and keys over a head: by mean and deviation, or with ``rmsnorm`` by their
    root mean square.
    """

    num_latents: Annotated[int, Ge(1)] = 512
    """Latents that the tokens of each head exchange through."""

    attn_scale: Annotated[float, Gt(0)] = 1.0
    """Factor of the logits, in both directions."""

    num_layers_k_proj: Annotated[int, Ge(-1)] = 3
    """Inner layers of the residual MLP that makes keys; -1 for one linear layer with a residual."""

    num_layers_v_proj: Annotated[int, Ge(-1)] = 3
    """Inner layers of the residual MLP that makes values; -1 for one linear layer with a residual.
    """

    k_proj_mlp_ratio: Annotated[float, Gt(0)] = 1.0
    """Inner width of the MLP that makes keys, over ``hidden_dim``."""

    v_proj_mlp_ratio: Annotated[float, Gt(0)] = 1.0
    """Inner width of the MLP that makes values, over ``hidden_dim``."""

    latent_init_std: Annotated[float, Gt(0)] = 0.1
    """Standard deviation of the latents at the start."""

    rmsnorm: bool = False
    """Whether ``qk_norm`` divides by the root mean square instead of subtracting the mean as well.
    """

    activation: Activation = "GELU"
    """Activation of both MLPs; ``"GELU_TANH"`` is the approximation that official weights need."""

    anchor_suffix: str = "_anchors"
    """Where a call names groups of tokens and some end in this, latents attend to those alone."""

    backend: Backend = "auto"
    """Kernel that computes attention: torch's choice, or one by name; ``"math"`` has second
    derivatives.
    """

    chunk_size: Annotated[int, Ge(1)] | None = None
    """Tokens that are computed at once where gradients are not needed; None chooses by the sizes.
    """
