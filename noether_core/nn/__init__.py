"""Pieces that attention variants share; module files of plugins import from here."""

from noether_core.nn.checks import (
    check_attn_mask,
    check_freqs,
    check_key_padding_mask,
    check_tokens,
    refuse_arguments,
)
from noether_core.nn.heads import merge_heads, split_heads
from noether_core.nn.initialisation import init_weights_
from noether_core.nn.masks import attend, combine_masks
from noether_core.nn.norm import RMSNorm
from noether_core.nn.projection import Projection
from noether_core.nn.rope import Frequencies, RopeFrequency, rotate
from noether_core.nn.state_dicts import accept_fused_

__all__ = [
    "Frequencies",
    "Projection",
    "RMSNorm",
    "RopeFrequency",
    "accept_fused_",
    "attend",
    "check_attn_mask",
    "check_freqs",
    "check_key_padding_mask",
    "check_tokens",
    "combine_masks",
    "init_weights_",
    "merge_heads",
    "refuse_arguments",
    "rotate",
    "split_heads",
]
