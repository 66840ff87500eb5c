"""From tokens to slices and back: soft groups, to which every token belongs in part."""

from noether_core.nn.slices.choosing import MOST_BYTES_HELD, chunk_of, folding_pays, is_streamed
from noether_core.nn.slices.composing import Affine, behind_states, from_tokens, stacked
from noether_core.nn.slices.dense import attend_slices, gather_slices, read_slices
from noether_core.nn.slices.kernel import attend_through_slices
from noether_core.nn.slices.operands import Choices, Operands, Positive
from noether_core.nn.slices.temperatures import POSITIVE

__all__ = [
    "MOST_BYTES_HELD",
    "POSITIVE",
    "Affine",
    "Choices",
    "Operands",
    "Positive",
    "attend_slices",
    "attend_through_slices",
    "behind_states",
    "chunk_of",
    "folding_pays",
    "from_tokens",
    "gather_slices",
    "is_streamed",
    "read_slices",
    "stacked",
]
