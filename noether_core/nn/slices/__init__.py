"""From tokens to slices and back: soft groups, to which every token belongs in part."""

from noether_core.nn.slices.choosing import choose_tile_size, folding_pays
from noether_core.nn.slices.composing import Affine, behind_states, from_tokens, stacked
from noether_core.nn.slices.dense import attend_slices, gather_slices, read_slices
from noether_core.nn.slices.kernel import attend_through_slices
from noether_core.nn.slices.operands import Choices, Operands, Positive
from noether_core.nn.slices.temperatures import POSITIVE

__all__ = [
    "POSITIVE",
    "Affine",
    "Choices",
    "Operands",
    "Positive",
    "attend_slices",
    "attend_through_slices",
    "behind_states",
    "folding_pays",
    "from_tokens",
    "gather_slices",
    "read_slices",
    "stacked",
    "choose_tile_size",
]
