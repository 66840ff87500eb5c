"""Mixed attention: groups of tokens attend to each other in patterns of the caller."""

from __future__ import annotations

from noether_core import AttentionVariant, hookimpl
from noether_plugins.attention.mixed.config import MixedAttentionConfig


@hookimpl
def noether_attention_variant() -> AttentionVariant:
    """Return the record of the variant."""
    return AttentionVariant(
        config=MixedAttentionConfig,
        module="noether_plugins.attention.mixed.module:MixedAttention",
        interface="tokens",
        capabilities=(
            "key_padding_mask",
            "rope",
            "token_specs",
            "attention_patterns",
            "kv_cache",
            "summary",
            "deterministic",
            "permutation",
        ),
        time_exponent=2,
        memory_exponent=1,
        summary_exponent=1,
        reference="Alkin et al., AB-UPT, 2025 (arXiv 2502.09692)",
    )
