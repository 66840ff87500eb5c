"""Physics attention: tokens exchange through shared slices."""

from __future__ import annotations

from noether_core import AttentionVariant, hookimpl
from noether_plugins.attention.transolver.config import TransolverAttentionConfig


@hookimpl
def noether_attention_variant() -> AttentionVariant:
    """Return the record of the variant."""
    return AttentionVariant(
        config=TransolverAttentionConfig,
        module="noether_plugins.attention.transolver.module:TransolverAttention",
        interface="self",
        capabilities=("key_padding_mask", "summary", "deterministic", "permutation"),
        time_exponent=1,
        memory_exponent=1,
        reference="Wu et al., Transolver, 2024 (arXiv 2402.02366)",
        example={"hidden_dim": 8, "num_heads": 2, "num_slices": 4},
        origins={
            "thuml/Transolver": "noether_plugins.attention.transolver.origins:THUML",
        },
    )
