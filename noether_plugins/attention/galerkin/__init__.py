"""Galerkin attention: keys and values are normalised, and no weight of a token is."""

from __future__ import annotations

from noether_core import AttentionVariant, hookimpl
from noether_plugins.attention.galerkin.config import GalerkinAttentionConfig


@hookimpl
def noether_attention_variant() -> AttentionVariant:
    """Return the record of the variant."""
    return AttentionVariant(
        config=GalerkinAttentionConfig,
        module="noether_plugins.attention.galerkin.module:GalerkinAttention",
        interface="self",
        capabilities=("key_padding_mask", "summary", "deterministic", "permutation"),
        time_exponent=1,
        memory_exponent=1,
        reference="Cao, Choose a Transformer: Fourier or Galerkin, 2021 (arXiv 2105.14995)",
        silent_options=("chunk_size",),
    )
