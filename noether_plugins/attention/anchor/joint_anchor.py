"""Joint-anchor attention: groups of tokens attend to the anchors of all branches."""

from __future__ import annotations

from noether_core import AttentionVariant, hookimpl
from noether_plugins.attention.anchor.config import JointAnchorAttentionConfig


@hookimpl
def noether_attention_variant() -> AttentionVariant:
    """Return the record of the variant."""
    return AttentionVariant(
        config=JointAnchorAttentionConfig,
        module="noether_plugins.attention.anchor.module:JointAnchorAttention",
        interface="tokens",
        capabilities=(
            "key_padding_mask",
            "rope",
            "token_specs",
            "kv_cache",
            "summary",
            "deterministic",
            "permutation",
        ),
        time_exponent=1,
        memory_exponent=1,
        summary_exponent=1,
        reference="Alkin et al., AB-UPT, 2025 (arXiv 2502.09692)",
        example={"hidden_dim": 8, "num_heads": 2, "branches": ["surface", "volume"]},
        example_groups={
            "surface_queries": None,
            "surface_anchors": 4,
            "volume_queries": None,
            "volume_anchors": 4,
        },
    )
