"""Physics attention with sharper slices: a temperature of every token, and noise in training."""

from __future__ import annotations

from noether_core import AttentionVariant, hookimpl
from noether_plugins.attention.transolver_plusplus.config import TransolverPlusPlusAttentionConfig


@hookimpl
def noether_attention_variant() -> AttentionVariant:
    """Return the record of the variant."""
    return AttentionVariant(
        config=TransolverPlusPlusAttentionConfig,
        module="noether_plugins.attention.transolver_plusplus.module:TransolverPlusPlusAttention",
        interface="self",
        capabilities=("key_padding_mask", "summary", "deterministic", "permutation"),
        time_exponent=1,
        memory_exponent=1,
        reference="Luo et al., Transolver++, 2025 (arXiv 2502.02414)",
        example={"hidden_dim": 8, "num_heads": 2, "num_slices": 4},
        origins={
            "thuml/Transolver_plus": "noether_plugins.attention.transolver_plusplus.origins:THUML",
            "reference": "noether_plugins.attention.transolver_plusplus.origins:REFERENCE",
        },
    )
