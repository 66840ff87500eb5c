"""What the module file of a variant imports; docs/nn.md has a line for each name."""

from noether_core.nn.attention import attend
from noether_core.nn.cache import KeyValues, KVCache
from noether_core.nn.checks import (
    check_attn_mask,
    check_context,
    check_freqs,
    check_key_padding_mask,
    check_kv_cache,
    check_positions,
    check_tokens,
)
from noether_core.nn.context import ContextLayers
from noether_core.nn.groups import group_sizes, layout_of
from noether_core.nn.initialisation import init_weights_
from noether_core.nn.layers import (
    Projection,
    QKVAttention,
    describe,
    merge_heads,
    project_heads,
    split_heads,
)
from noether_core.nn.masks import (
    Causal,
    Packed,
    SlidingWindow,
    StructuredMask,
    combine_masks,
    zero_padding,
)
from noether_core.nn.noise import draw_seed, dropout_at, uniform_at
from noether_core.nn.norm import RMSNorm
from noether_core.nn.parts import attend_in_parts, gather_in_parts, read_in_parts
from noether_core.nn.rope import Frequencies, RopeFrequency, rotate
from noether_core.nn.slices import attend_slices, gather_slices, read_slices
from noether_core.nn.state_dicts import accept_fused_
from noether_core.nn.summaries import Attended, Summary, Summed, check_summary

__all__ = [
    "Attended",
    "Causal",
    "ContextLayers",
    "Frequencies",
    "KVCache",
    "KeyValues",
    "Packed",
    "Projection",
    "QKVAttention",
    "RMSNorm",
    "RopeFrequency",
    "SlidingWindow",
    "StructuredMask",
    "Summary",
    "Summed",
    "accept_fused_",
    "attend",
    "attend_in_parts",
    "attend_slices",
    "check_attn_mask",
    "check_context",
    "check_freqs",
    "check_key_padding_mask",
    "check_kv_cache",
    "check_positions",
    "check_summary",
    "check_tokens",
    "combine_masks",
    "describe",
    "draw_seed",
    "dropout_at",
    "gather_in_parts",
    "gather_slices",
    "group_sizes",
    "init_weights_",
    "layout_of",
    "merge_heads",
    "project_heads",
    "read_in_parts",
    "read_slices",
    "rotate",
    "split_heads",
    "uniform_at",
    "zero_padding",
]
