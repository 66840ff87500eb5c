"""FlexAttention: a kernel that is compiled, and gets masks as blocks of queries and keys."""

from __future__ import annotations

import functools
import itertools
import math
import types
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from noether_core.errors import UnsupportedBackendError
from noether_core.nn.kernels import has_tangents
from noether_core.nn.masks import Causal, SlidingWindow, StructuredMask

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.nn.attention.flex_attention import BlockMask

_BLOCK = 128
"""Tokens to a side of a block."""


class _Blocks(NamedTuple):
    """Blocks of keys that each block of queries attends to, as `BlockMask` takes them."""

    num_partial: Tensor
    """How many of them a block of queries attends to in part, ``(1, 1, blocks)``."""

    partial: Tensor
    """Their indices, ``(1, 1, blocks, blocks)``; those behind the number mean nothing."""

    num_whole: Tensor | None
    """Likewise those that it attends to as a whole."""

    whole: Tensor | None


def attend_by_flex(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    mask: Tensor | StructuredMask | None,
    key_padding_mask: Tensor | None,
    dropout: float,
    scale: float | None,
) -> Tensor:
    """Attend by FlexAttention; arguments as `noether_core.nn.attend` takes them.

    Outside of graphs it is compiled at first use, on a CPU for every shape anew; uncompiled it
    would hold queries times keys.

    Raises:
        UnsupportedBackendError: If it cannot serve the request.
    """
    mask = _served(mask, queries, keys, values, dropout)
    blocks = _block_mask(mask, queries, keys, key_padding_mask)
    if torch.compiler.is_compiling():
        return _flex(queries, keys, values, blocks, scale)

    kernel = _compiled(_kind_of(queries, keys, key_padding_mask))
    attended: Tensor = kernel(queries, keys, values, blocks, scale)
    return attended


def _served(
    mask: Tensor | StructuredMask | None,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    dropout: float,
) -> StructuredMask | None:
    """Return the mask if FlexAttention serves."""
    if isinstance(mask, Tensor):
        _refuse("attn_mask is a tensor, and it takes Causal, SlidingWindow or Packed")
    if dropout:
        _refuse("it cannot drop attention weights")
    if has_tangents(queries, keys, values):
        _refuse("it has no derivatives in forward mode, which 'math' has")
    if queries.device.type == "cpu":
        if queries.dtype == torch.float64:
            _refuse("on a CPU it cannot compute in float64")
        if torch.is_grad_enabled() and any(x.requires_grad for x in (queries, keys, values)):
            _refuse("on a CPU it has no gradients, and runs under torch.no_grad() only")
    return mask


def _refuse(reason: str) -> NoReturn:
    raise UnsupportedBackendError("flex", f"{reason}; take 'auto'")


def _flex(
    queries: Tensor, keys: Tensor, values: Tensor, blocks: BlockMask | None, scale: float | None
) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention

    attended: Tensor = flex_attention(queries, keys, values, block_mask=blocks, scale=scale)
    return attended


class _Kind(NamedTuple):
    """What a compiled kernel is made for."""

    device: str
    dtype: torch.dtype
    head_dim: int
    is_padded: bool
    sizes: tuple[tuple[int, ...], ...]
    """Shapes and strides on a CPU, for which torch's kernels with dynamic sizes do not compile."""


def _kind_of(queries: Tensor, keys: Tensor, key_padding_mask: Tensor | None) -> _Kind:
    device = queries.device.type
    sizes: tuple[tuple[int, ...], ...] = ()
    if device == "cpu":
        sizes = (queries.shape, keys.shape, queries.stride(), keys.stride())
    is_padded = key_padding_mask is not None
    return _Kind(device, queries.dtype, queries.shape[-1], is_padded, sizes)


@functools.cache
def _compiled(kind: _Kind) -> Callable[..., Any]:
    """Return a kernel of its own for each kind."""
    # Torch stops compiling after eight variations of one function, so each kind gets a function.
    code = _flex.__code__.replace(co_name=f"flex_{next(_numbers)}")
    fresh = types.FunctionType(code, _flex.__globals__)
    return torch.compile(fresh, fullgraph=True, dynamic=False if kind.device == "cpu" else None)


_numbers = itertools.count()


def _block_mask(
    mask: StructuredMask | None, queries: Tensor, keys: Tensor, is_real: Tensor | None
) -> BlockMask | None:
    """Return which blocks of queries attend to which blocks of keys."""
    if mask is None and is_real is None:
        return None
    from torch.nn.attention.flex_attention import BlockMask

    start, end = _spans(mask, queries.shape[2], keys.shape[2], queries.device)

    def attends(batch: Tensor, _: Tensor, query: Tensor, key: Tensor) -> Tensor:
        is_in_span = (key >= start[query]) & (key < end[query])
        return is_in_span if is_real is None else is_in_span & is_real[batch, key]

    blocks: BlockMask = BlockMask.from_kv_blocks(
        *_blocks(start, end, keys.shape[2], has_whole=is_real is None),
        BLOCK_SIZE=_BLOCK,
        mask_mod=attends,
        seq_lengths=(queries.shape[2], keys.shape[2]),
        compute_q_blocks=torch.is_grad_enabled() and queries.device.type != "cpu",
    )
    return blocks


def _spans(
    mask: StructuredMask | None, queries: int, keys: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the first key that each query attends to, and the one behind its last."""
    position = torch.arange(queries, device=device)
    if mask is None:
        return torch.zeros_like(position), torch.full_like(position, keys)
    if isinstance(mask, Causal):
        return torch.zeros_like(position), (position + 1).clamp(max=keys)
    if isinstance(mask, SlidingWindow):
        first, end = position - mask.before, position + mask.after + 1
        return first.clamp(0, keys), end.clamp(max=keys)

    key_lengths = torch.tensor(mask.key_lengths, device=device)
    ends = key_lengths.cumsum(0)
    lengths = torch.tensor(mask.lengths, device=device)
    sample = torch.repeat_interleave(lengths, output_size=queries)
    return (ends - key_lengths)[sample], ends[sample]


def _blocks(start: Tensor, end: Tensor, keys: int, *, has_whole: bool) -> _Blocks:
    """Return the blocks of keys that blocks of queries attend to, in part and whole.

    Args:
        start: First key of each query, in ascending order.
        end: The key behind the last one of each query, in ascending order.
        keys: Number of keys.
        has_whole: Whether a block in the middle of a span is attended to as a whole, which padding
            in it forbids.
    """
    columns = torch.arange(math.ceil(keys / _BLOCK), device=start.device)
    top = torch.arange(0, start.shape[0], _BLOCK, device=start.device)
    bottom = (top + _BLOCK - 1).clamp(max=start.shape[0] - 1)

    first = start[top] // _BLOCK
    stop = torch.maximum(-(-end[bottom] // _BLOCK), first)
    if not has_whole:
        indices = first[:, None] + columns
        return _Blocks(_counts(stop - first), _indices(indices), None, None)

    # In front of the whole blocks and behind them lie those that are attended to in part.
    whole = torch.minimum(-(-start[bottom] // _BLOCK), stop)
    whole_stop = torch.minimum(torch.maximum(end[top] // _BLOCK, whole), stop)
    num_whole = whole_stop - whole
    num_front = (whole - first)[:, None]
    front, behind = first[:, None] + columns, whole_stop[:, None] + columns - num_front
    partial = torch.where(columns < num_front, front, behind)
    return _Blocks(
        num_partial=_counts(stop - first - num_whole),
        partial=_indices(partial),
        num_whole=_counts(num_whole),
        whole=_indices(whole[:, None] + columns),
    )


def _counts(counts: Tensor) -> Tensor:
    """Return *counts* with axes for batch and heads."""
    return counts.to(torch.int32)[None, None]


def _indices(blocks: Tensor) -> Tensor:
    """Return *blocks* with axes for batch and heads, in range where they do not count."""
    in_range = blocks.clamp(max=blocks.shape[-1] - 1)
    return in_range.to(torch.int32)[None, None].contiguous()
