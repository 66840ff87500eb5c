"""Pieces that attention variants share; module files of plugins import from here."""

from noether_core.nn import slices
from noether_core.nn.attention import attend, combine_masks
from noether_core.nn.cache import KeyValues, KVCache, join_key_values
from noether_core.nn.checks import (
    check_attn_mask,
    check_freqs,
    check_key_padding_mask,
    check_positions,
    check_tokens,
    refuse_arguments,
)
from noether_core.nn.groups import (
    Cut,
    Layout,
    Pieces,
    Runs,
    cut_groups,
    group_sizes,
    layout_of,
    take_runs,
)
from noether_core.nn.initialisation import init_weights_
from noether_core.nn.layers import Projection, QKVAttention, merge_heads, project_heads, split_heads
from noether_core.nn.noise import draw_seed, dropout_at, gumbel, uniform_at
from noether_core.nn.norm import RMSNorm
from noether_core.nn.operators import (
    define_operator,
    dtype_of_results,
    dtype_of_sums,
    is_transformed,
    refuse_derivatives,
)
from noether_core.nn.partial_attention import KeyChunk, attend_to_chunks, tells_sums
from noether_core.nn.rope import Frequencies, RopeFrequency, rotate
from noether_core.nn.slices import attend_slices, gather_slices, read_slices
from noether_core.nn.state_dicts import accept_fused_
from noether_core.nn.streaming import FEWEST_STREAMED, chunks_of, tokens_at_once
from noether_core.nn.structured_masks import Causal, Packed, SlidingWindow, StructuredMask

__all__ = [
    "FEWEST_STREAMED",
    "Causal",
    "Cut",
    "Frequencies",
    "KVCache",
    "KeyChunk",
    "KeyValues",
    "Layout",
    "Packed",
    "Pieces",
    "Projection",
    "QKVAttention",
    "RMSNorm",
    "RopeFrequency",
    "Runs",
    "SlidingWindow",
    "StructuredMask",
    "accept_fused_",
    "attend",
    "attend_slices",
    "attend_to_chunks",
    "check_attn_mask",
    "check_freqs",
    "check_key_padding_mask",
    "check_positions",
    "check_tokens",
    "chunks_of",
    "combine_masks",
    "cut_groups",
    "define_operator",
    "draw_seed",
    "dropout_at",
    "dtype_of_results",
    "dtype_of_sums",
    "gather_slices",
    "group_sizes",
    "gumbel",
    "init_weights_",
    "is_transformed",
    "join_key_values",
    "layout_of",
    "merge_heads",
    "project_heads",
    "read_slices",
    "refuse_arguments",
    "refuse_derivatives",
    "rotate",
    "slices",
    "split_heads",
    "take_runs",
    "tells_sums",
    "tokens_at_once",
    "uniform_at",
]
