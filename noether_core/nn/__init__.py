"""Pieces that attention variants share; module files of plugins import from here."""

from noether_core.nn.cache import KeyValues, KVCache
from noether_core.nn.checks import (
    check_attn_mask,
    check_freqs,
    check_key_padding_mask,
    check_positions,
    check_tokens,
    refuse_arguments,
)
from noether_core.nn.derivatives import refuse_derivatives
from noether_core.nn.groups import group_names, group_spans, take_tokens
from noether_core.nn.heads import merge_heads, project_heads, split_heads
from noether_core.nn.initialisation import init_weights_
from noether_core.nn.masks import attend, combine_masks
from noether_core.nn.noise import draw_seed, dropout_at, uniform_at
from noether_core.nn.norm import RMSNorm
from noether_core.nn.projection import Projection
from noether_core.nn.qkv import QKVAttention
from noether_core.nn.rope import Frequencies, RopeFrequency, rotate
from noether_core.nn.slices import gather_slices, read_slices
from noether_core.nn.state_dicts import accept_fused_

__all__ = [
    "Frequencies",
    "KVCache",
    "KeyValues",
    "Projection",
    "QKVAttention",
    "RMSNorm",
    "RopeFrequency",
    "accept_fused_",
    "attend",
    "check_attn_mask",
    "check_freqs",
    "check_key_padding_mask",
    "check_positions",
    "check_tokens",
    "combine_masks",
    "draw_seed",
    "dropout_at",
    "gather_slices",
    "group_names",
    "group_spans",
    "init_weights_",
    "merge_heads",
    "project_heads",
    "read_slices",
    "refuse_arguments",
    "refuse_derivatives",
    "rotate",
    "split_heads",
    "take_tokens",
    "uniform_at",
]
