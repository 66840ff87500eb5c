"""How a call is computed chunk by chunk: how many queries and keys at once, and what is theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from noether_core.nn import KVCache, StructuredMask
from noether_core.nn.partial_attention import has_fused_kernel
from noether_core.nn.streaming import FEWEST_STREAMED, choose_chunk_size, is_traced
from noether_core.nn.tokens import Tokens

if TYPE_CHECKING:
    from torch import nn

    from noether_plugins.attention.perceiver.config import PerceiverAttentionConfig

_KEPT = 1 << 26
"""Bytes of keys and values that are kept for all chunks of queries; of more, every chunk makes its
own.
"""

_QUERIES_OF_WIDTH = 16
"""Queries over ``kv_dim`` that share keys and values: a key and its value cost ``4 kv_dim
hidden_dim`` operations to make and ``4 queries hidden_dim`` to attend to, so that to make them anew
adds a sixteenth."""

_LEAST_KEYS = 512
"""Keys at once below which merging costs more than a twentieth of attending to them."""


class Call(NamedTuple):
    """The arguments of a call."""

    queries: Tokens
    """The tokens that attend."""

    keys: Tokens | None
    """The tokens that they attend to; None where the cache holds their keys and values."""

    attn_mask: Tensor | StructuredMask | None
    """The mask over pairs."""

    cache: KVCache | None
    """Filled, or read where there are no *keys*."""

    def tensors(self) -> list[Tensor]:
        """Return the tensors that gradients may be due of."""
        tensors = self.queries.tensors()
        if self.keys is not None:
            tensors += self.keys.tensors()
        if isinstance(self.attn_mask, Tensor):
            tensors.append(self.attn_mask)
        return tensors


class ChunkSizes(NamedTuple):
    """How many tokens are computed at once."""

    queries: int
    """Queries of a chunk."""

    keys: int | None
    """Keys of a chunk; None where all keys and values are made once, and kept."""


def choose_chunk_sizes(
    module: nn.Module, config: PerceiverAttentionConfig, call: Call
) -> ChunkSizes | None:
    """Return how a call is cut into chunks, or None where it is computed as a whole.

    Args:
        module: Its parameters may ask for gradients, which are computed of the whole alone.
        config: Options of the module.
        call: What is to be computed.
    """
    if is_traced() or config.backend == "flex":
        return None
    # Masks that describe pairs are for all of them, and not cut.
    if not (call.attn_mask is None or isinstance(call.attn_mask, Tensor)):
        return None
    # To look closer takes a noticeable time, so calls with few tokens are over here.
    if config.chunk_size is None and _is_short(call):
        return None

    key_width = config.hidden_dim if config.kv_dim is None else config.kv_dim
    keys = _keys_at_once(module, config, call)
    queries = choose_chunk_size(
        module,
        *call.tensors(),
        width=_widest_of_query(config, call, keys),
        least=1 if keys is None else _QUERIES_OF_WIDTH * key_width,
        chosen=config.chunk_size,
    )

    if queries is None and keys is None:
        return None
    return ChunkSizes(queries or max(1, call.queries.x.shape[1]), keys)


def _is_short(call: Call) -> bool:
    count = call.queries.x.shape[1]
    if call.keys is not None:
        count = max(count, call.keys.x.shape[1])
    return count <= FEWEST_STREAMED


def _widest_of_query(config: PerceiverAttentionConfig, call: Call, keys: int | None) -> int:
    """Return the most numbers that a query becomes: its features, or logits that are held."""
    holds_logits = config.backend == "math" and keys is None
    if not holds_logits or call.keys is None:
        return config.hidden_dim
    return max(config.hidden_dim, config.num_heads * call.keys.x.shape[1])


def _keys_at_once(module: nn.Module, config: PerceiverAttentionConfig, call: Call) -> int | None:
    """Return how many keys and values are made at once; None where all are made, and kept.

    They are kept where they are cached, and where they are few and more than one chunk of queries
    attends to them.
    """
    if call.keys is None or call.cache is not None:
        return None
    x = call.keys.x
    key_width = x.shape[2]
    queries = call.queries.x.shape[1]
    most_queries = _QUERIES_OF_WIDTH * key_width

    kept = 2 * x.shape[0] * x.shape[1] * config.hidden_dim * x.element_size()
    if config.chunk_size is None and queries > most_queries and kept <= _KEPT:
        return None

    widths = [key_width, config.hidden_dim]
    if not has_fused_kernel(x, config.backend):
        widths.append(config.num_heads * min(queries, most_queries))
    return choose_chunk_size(
        module,
        x,
        *call.tensors(),
        width=max(widths),
        least=_LEAST_KEYS,
        chosen=config.chunk_size,
    )


def take_queries(mask: Tensor | None, span: slice) -> Tensor | None:
    """Return a mask with four axes for some of the queries."""
    if mask is None or mask.shape[-2] == 1:
        return mask
    return mask[..., span, :]


def take_keys(mask: Tensor | None, span: slice) -> Tensor | None:
    """Return a mask with four axes for some of the keys."""
    if mask is None or mask.shape[-1] == 1:
        return mask
    return mask[..., span]
