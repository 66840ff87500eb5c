"""FLARE: tokens exchange information through a fixed number of latents."""

from __future__ import annotations

from noether_core import AttentionVariant, hookimpl
from noether_plugins.attention.flare.config import FLAREAttentionConfig


@hookimpl
def noether_attention_variant() -> AttentionVariant:
    """Return the record of the variant."""
    return AttentionVariant(
        config=FLAREAttentionConfig,
        module="noether_plugins.attention.flare.module:FLAREAttention",
        interface="self",
        capabilities=("key_padding_mask", "token_specs", "summary", "deterministic", "permutation"),
        time_exponent=1,
        memory_exponent=1,
        reference="Puri et al., FLARE, 2025 (arXiv 2508.12594)",
        example={"hidden_dim": 8, "num_heads": 2, "num_latents": 4},
        silent_options=("chunk_size",),
        origins={
            "vpuri3/FLARE.py": "noether_plugins.attention.flare.origins:VPURI3",
        },
    )
