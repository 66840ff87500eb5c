"""GALE with latents: tokens attend to each other through them, and to a context."""

from __future__ import annotations

from noether_core import AttentionVariant, hookimpl
from noether_plugins.attention.gale_flare.config import GALEFLAREAttentionConfig


@hookimpl
def noether_attention_variant() -> AttentionVariant:
    """Return the record of the variant."""
    return AttentionVariant(
        config=GALEFLAREAttentionConfig,
        module="noether_plugins.attention.gale_flare.module:GALEFLAREAttention",
        interface="self",
        capabilities=("key_padding_mask", "context", "summary", "deterministic", "permutation"),
        time_exponent=1,
        memory_exponent=1,
        reference="Adams et al., GeoTransolver, 2025 (arXiv 2512.20399)",
        example={"hidden_dim": 8, "num_heads": 2, "num_latents": 4, "context_dim": 6},
        origins={
            "NVIDIA/physicsnemo": "noether_plugins.attention.gale_flare.origins:PHYSICSNEMO",
        },
        silent_options=("chunk_size",),
    )
