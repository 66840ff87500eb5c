"""Linear attention: a product of features in the place of the exponential of a product."""

from __future__ import annotations

from noether_core import AttentionVariant, hookimpl
from noether_plugins.attention.linear.config import LinearAttentionConfig


@hookimpl
def noether_attention_variant() -> AttentionVariant:
    """Return the record of the variant."""
    return AttentionVariant(
        config=LinearAttentionConfig,
        module="noether_plugins.attention.linear.module:LinearAttention",
        interface="self",
        capabilities=("key_padding_mask", "rope", "summary", "deterministic", "permutation"),
        time_exponent=1,
        memory_exponent=1,
        reference="Katharopoulos et al., Transformers are RNNs, 2020 (arXiv 2006.16236)",
        silent_options=("chunk_size",),
    )
