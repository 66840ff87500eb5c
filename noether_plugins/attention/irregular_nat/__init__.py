"""Neighbourhood attention: points attend to the points nearest to them."""

from __future__ import annotations

from noether_core import AttentionVariant, hookimpl
from noether_plugins.attention.irregular_nat.config import IrregularNatAttentionConfig


@hookimpl
def noether_attention_variant() -> AttentionVariant:
    """Return the record of the variant."""
    return AttentionVariant(
        config=IrregularNatAttentionConfig,
        module="noether_plugins.attention.irregular_nat.module:IrregularNatAttention",
        interface="self",
        capabilities=("key_padding_mask", "positions", "deterministic", "permutation"),
        time_exponent=1,
        memory_exponent=1,
        reference="after Hassani et al., Neighborhood Attention Transformer, 2023 "
        "(arXiv 2204.07143)",
        example={"hidden_dim": 8, "num_heads": 2, "input_dim": 3, "radius": 0.5, "max_degree": 4},
    )
