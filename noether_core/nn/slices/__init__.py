"""Soft groups, to which every token belongs in part: the steps, and the form for many tokens."""

from noether_core.nn.slices.context import SliceContext
from noether_core.nn.slices.forms import SliceAttention, Streamed, attend, gather, read
from noether_core.nn.slices.layers import Weighed
from noether_core.nn.slices.operator import (
    attend_through_slices,
    gather_into_slices,
    read_from_slices,
)
from noether_core.nn.slices.plan import (
    LogitMap,
    Operands,
    Settings,
    TemperatureActivation,
    choose_tile_size,
    folding_pays,
    logits_from_states,
    logits_from_tokens,
    operands_of,
    stack_layers,
)
from noether_core.nn.slices.reference import (
    attend_slices,
    gather_slices,
    read_slices,
    weigh_for_slices,
)
from noether_core.nn.slices.steps import soft_slices

__all__ = [
    "LogitMap",
    "Operands",
    "Settings",
    "SliceAttention",
    "SliceContext",
    "Streamed",
    "TemperatureActivation",
    "Weighed",
    "attend",
    "attend_slices",
    "attend_through_slices",
    "choose_tile_size",
    "folding_pays",
    "gather",
    "gather_into_slices",
    "gather_slices",
    "logits_from_states",
    "logits_from_tokens",
    "operands_of",
    "read",
    "read_from_slices",
    "read_slices",
    "soft_slices",
    "stack_layers",
    "weigh_for_slices",
]
