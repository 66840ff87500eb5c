"""Induced set attention: learned points attend to the tokens, and the tokens to these."""

from __future__ import annotations

from noether_core import AttentionVariant, hookimpl
from noether_plugins.attention.induced_set.config import InducedSetAttentionConfig


@hookimpl
def noether_attention_variant() -> AttentionVariant:
    """Return the record of the variant."""
    return AttentionVariant(
        config=InducedSetAttentionConfig,
        module="noether_plugins.attention.induced_set.module:InducedSetAttention",
        interface="self",
        capabilities=("key_padding_mask", "summary", "deterministic", "permutation"),
        time_exponent=1,
        memory_exponent=1,
        reference="Lee et al., Set Transformer, 2019 (arXiv 1810.00825)",
        example={"hidden_dim": 8, "num_heads": 2, "num_latents": 4},
        silent_options=("chunk_size",),
    )
