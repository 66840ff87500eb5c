"""FLARE++: tokens exchange information through latents that the input shapes first."""

from __future__ import annotations

from noether_core import AttentionVariant, hookimpl
from noether_plugins.attention.flare_plusplus.config import FLAREPlusPlusAttentionConfig


@hookimpl
def noether_attention_variant() -> AttentionVariant:
    """Return the record of the variant."""
    return AttentionVariant(
        config=FLAREPlusPlusAttentionConfig,
        module="noether_plugins.attention.flare_plusplus.module:FLAREPlusPlusAttention",
        interface="self",
        capabilities=("key_padding_mask", "summary", "deterministic", "permutation"),
        time_exponent=1,
        memory_exponent=1,
        reference="Puri et al., FLARE++, 2026 (arXiv 2608.11519)",
        example={"hidden_dim": 8, "num_heads": 2, "num_latents": 4},
        silent_options=("chunk_size",),
        origins={
            "vpuri3/FLARE.py": "noether_plugins.attention.flare_plusplus.origins:VPURI3",
        },
    )
