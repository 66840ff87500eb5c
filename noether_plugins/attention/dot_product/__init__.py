"""Dot-product attention: every token attends to every token."""

from __future__ import annotations

from noether_core import AttentionVariant, hookimpl
from noether_plugins.attention.dot_product.config import DotProductAttentionConfig


@hookimpl
def noether_attention_variant() -> AttentionVariant:
    """Return the record of the variant."""
    return AttentionVariant(
        config=DotProductAttentionConfig,
        module="noether_plugins.attention.dot_product.module:DotProductAttention",
        interface="self",
        capabilities=("attn_mask", "key_padding_mask", "rope", "deterministic", "permutation"),
        time_exponent=2,
        memory_exponent=1,
        reference="Vaswani et al., Attention Is All You Need, 2017 (arXiv 1706.03762)",
    )
