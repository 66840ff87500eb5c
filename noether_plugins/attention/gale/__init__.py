"""GALE: slices attend to each other and to a context."""

from __future__ import annotations

from noether_core import AttentionVariant, hookimpl
from noether_plugins.attention.gale.config import GALEAttentionConfig


@hookimpl
def noether_attention_variant() -> AttentionVariant:
    """Return the record of the variant."""
    return AttentionVariant(
        config=GALEAttentionConfig,
        module="noether_plugins.attention.gale.module:GALEAttention",
        interface="self",
        capabilities=("key_padding_mask", "context", "summary", "deterministic", "permutation"),
        time_exponent=1,
        memory_exponent=1,
        reference="Adams et al., GeoTransolver, 2025 (arXiv 2512.20399)",
        example={"hidden_dim": 8, "num_heads": 2, "num_slices": 4, "context_dim": 6},
        origins={
            "NVIDIA/physicsnemo": "noether_plugins.attention.gale.origins:PHYSICSNEMO",
        },
    )
