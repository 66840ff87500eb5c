"""Sliding-window attention: every token attends to its neighbours."""

from __future__ import annotations

from acme_window.config import WindowAttentionConfig
from noether_core import AttentionVariant, hookimpl


@hookimpl
def noether_attention_variant() -> AttentionVariant:
    """Return the record of the variant."""
    return AttentionVariant(
        config=WindowAttentionConfig,
        module="acme_window.module:WindowAttention",
        interface="self",
        capabilities=("key_padding_mask", "rope", "deterministic"),
        time_exponent=1,
        memory_exponent=1,
        reference="Beltagy et al., Longformer, 2020 (arXiv 2004.05150), section 3.1",
        example={"hidden_dim": 8, "num_heads": 2, "window": 4},  # less than its default of 256
        api_version=1,
    )
