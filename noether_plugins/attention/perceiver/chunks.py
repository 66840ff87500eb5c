"""How many queries and keys are computed at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from noether_core.nn.partial_attention import has_fused_kernel
from noether_core.nn.streaming import FEWEST_STREAMED, choose_chunk_size

if TYPE_CHECKING:
    from noether_plugins.attention.perceiver.call import Call
    from noether_plugins.attention.perceiver.module import PerceiverAttention

_KEPT = 1 << 26
"""Bytes of keys and values that are kept for all chunks of queries; of more, every chunk makes its
own.
"""

_QUERIES_OF_WIDTH = 16
"""Queries over ``kv_dim`` that share keys and values: a key and its value cost ``4 kv_dim
hidden_dim`` operations to make and ``4 queries hidden_dim`` to read, so that to make them anew adds
a sixteenth."""

_LEAST_KEYS = 512
"""Keys below which it costs more than a twentieth of reading them to merge what was read."""


class Chunks(NamedTuple):
    """How many tokens are computed at once."""

    queries: int
    """Tokens that ask."""

    keys: int | None
    """Tokens that answer, or None where all their keys and values are kept."""


def chunks_of_call(module: PerceiverAttention, call: Call) -> Chunks | None:
    """Return how a call is cut into chunks, or None where it is computed as a whole."""
    is_cut = call.attn_mask is None or isinstance(
        call.attn_mask, Tensor
    )  # not where it describes who reads whom
    if torch.compiler.is_compiling() or module.backend == "flex" or not is_cut:
        return None
    if module.chunk_size is None and _is_short(call):
        return None
    others, keys = call.tensors(), _keys_at_once(module, call)

    width, least = module.hidden_dim, 1
    if keys is not None:
        least = _QUERIES_OF_WIDTH * module.kv_dim
    elif module.backend == "math" and call.answering is not None:
        width = max(width, module.num_heads * call.answering.x.shape[1])
    queries = choose_chunk_size(
        module, call.asking.x, *others, width=width, least=least, chosen=module.chunk_size
    )
    return (
        None
        if queries is None and keys is None
        else Chunks(queries or max(1, call.asking.x.shape[1]), keys)
    )


def _is_short(call: Call) -> bool:
    """Return whether a call has too few tokens to look closer, which would take a noticeable time."""
    asking, answering = call.asking.x, call.asking.x if call.answering is None else call.answering.x
    return max(asking.shape[1], answering.shape[1]) <= FEWEST_STREAMED


def _keys_at_once(module: PerceiverAttention, call: Call) -> int | None:
    """Return how many keys and values are made at once, or None where all of them are made, and
    kept.

    They are kept where they are cached, and where more than one chunk of queries reads keys and
    values that are few.
    """
    if call.answering is None or call.cache is not None:
        return None
    queries, kv = call.asking.x.shape[1], call.answering.x
    most_queries = _QUERIES_OF_WIDTH * module.kv_dim
    kept = 2 * kv.shape[0] * kv.shape[1] * module.hidden_dim * kv.element_size()
    if module.chunk_size is None and queries > most_queries and kept <= _KEPT:
        return None
    widths = [module.kv_dim, module.hidden_dim]
    if not has_fused_kernel(kv, module.backend):
        widths.append(module.num_heads * min(queries, most_queries))
    return choose_chunk_size(
        module, kv, *call.tensors(), width=max(widths), least=_LEAST_KEYS, chosen=module.chunk_size
    )
