"""Cross-attention: tokens attend to tokens of another set."""

from __future__ import annotations

from noether_core import AttentionVariant, hookimpl
from noether_plugins.attention.perceiver.config import PerceiverAttentionConfig


@hookimpl
def noether_attention_variant() -> AttentionVariant:
    """Return the record of the variant."""
    return AttentionVariant(
        config=PerceiverAttentionConfig,
        module="noether_plugins.attention.perceiver.module:PerceiverAttention",
        interface="cross",
        capabilities=(
            "attn_mask",
            "key_padding_mask",
            "rope",
            "kv_cache",
            "token_specs",
            "summary",
            "deterministic",
            "permutation",
        ),
        time_exponent=2,
        memory_exponent=1,
        summary_exponent=1,
        reference="Jaegle et al., Perceiver, 2021 (arXiv 2103.03206)",
        silent_options=("chunk_size",),
    )
