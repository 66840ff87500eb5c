"""FlexAttention: a kernel that is compiled for a mask, which it is told of in blocks."""

from __future__ import annotations

import functools
import itertools
import types
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import torch
from torch import Tensor

from noether_core.errors import UnsupportedBackendError
from noether_core.nn.kernels import has_tangents
from noether_core.nn.structured_masks import Causal, SlidingWindow, StructuredMask

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.nn.attention.flex_attention import BlockMask

_BLOCK = 128
"""Tokens to a side of a block."""

_Places: TypeAlias = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
"""Number and places of blocks that are read in part, and of those that are read whole."""


def attend_by_flex(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    mask: Tensor | StructuredMask | None,
    real: Tensor | None,
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
    blocks = _block_mask(mask, queries, keys, real)
    if torch.compiler.is_compiling():
        return _flex(queries, keys, values, blocks, scale)

    read: Tensor = _compiled(_kind_of(queries, keys, real))(queries, keys, values, blocks, scale)
    return read


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

    read: Tensor = flex_attention(queries, keys, values, block_mask=blocks, scale=scale)
    return read


def _kind_of(queries: Tensor, keys: Tensor, real: Tensor | None) -> tuple[Any, ...]:
    """Return what a compiled kernel is made for.

    With sizes that may be any, torch writes kernels for CPUs that do not compile.
    """
    sizes = (
        (queries.shape, keys.shape, queries.stride(), keys.stride())
        if queries.device.type == "cpu"
        else ()
    )
    return queries.device.type, queries.dtype, queries.shape[-1], real is None, *sizes


@functools.cache
def _compiled(kind: tuple[Any, ...]) -> Callable[..., Any]:
    """Return a kernel of its own for each kind; torch stops compiling after eight variations of one
    function.
    """
    code = _flex.__code__.replace(co_name=f"flex_{next(_numbers)}")
    fresh = types.FunctionType(code, _flex.__globals__)
    return torch.compile(fresh, fullgraph=True, dynamic=False if kind[0] == "cpu" else None)


_numbers = itertools.count()


def _block_mask(
    mask: StructuredMask | None, queries: Tensor, keys: Tensor, real: Tensor | None
) -> BlockMask | None:
    """Return which blocks of queries read which blocks of keys, worked out from the spans of keys
    that they read.
    """
    if mask is None and real is None:
        return None
    from torch.nn.attention.flex_attention import BlockMask

    start, end = _spans(mask, queries.shape[2], keys.shape[2], queries.device)

    def reads(batch: Tensor, _: Tensor, query: Tensor, key: Tensor) -> Tensor:
        is_in_span = (key >= start[query]) & (key < end[query])
        return is_in_span if real is None else is_in_span & real[batch, key]

    blocks: BlockMask = BlockMask.from_kv_blocks(
        *_blocks(start, end, keys.shape[2], is_whole=real is None),
        BLOCK_SIZE=_BLOCK,
        mask_mod=reads,
        seq_lengths=(queries.shape[2], keys.shape[2]),
        compute_q_blocks=torch.is_grad_enabled() and queries.device.type != "cpu",
    )
    return blocks


def _spans(
    mask: StructuredMask | None, queries: int, keys: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the first key that each query reads, and the one behind its last."""
    place = torch.arange(queries, device=device)
    if mask is None:
        return torch.zeros_like(place), torch.full_like(place, keys)
    if isinstance(mask, Causal):
        return torch.zeros_like(place), (place + 1).clamp(max=keys)
    if isinstance(mask, SlidingWindow):
        return (place - mask.before).clamp(0, keys), (place + mask.after + 1).clamp(max=keys)
    lengths = torch.tensor(mask.lengths, device=device)
    ends = torch.tensor(mask.key_lengths, device=device).cumsum(0)
    sample = torch.repeat_interleave(lengths, output_size=queries)
    return (ends - torch.tensor(mask.key_lengths, device=device))[sample], ends[sample]


def _blocks(start: Tensor, end: Tensor, keys: int, *, is_whole: bool) -> _Places:
    """Return number and places of the blocks that each block of queries reads in part, and of those
    it reads whole.

    Args:
        start: First key of each query, in ascending order.
        end: The key behind the last one of each query, in ascending order.
        keys: Number of keys.
        is_whole: Whether a block in the middle of a span is read whole.
    """
    columns = -(-keys // _BLOCK)
    top = torch.arange(0, start.shape[0], _BLOCK, device=start.device)
    bottom = (top + _BLOCK - 1).clamp(max=start.shape[0] - 1)

    first = start[top] // _BLOCK
    behind = torch.maximum(-(-end[bottom] // _BLOCK), first)
    if not is_whole:
        return (
            *_counted(behind - first, first[:, None] + torch.arange(columns, device=start.device)),
            None,
            None,
        )

    # In front of the whole blocks and behind them lie those that are read in part.
    whole = torch.minimum(-(-start[bottom] // _BLOCK), behind)
    whole_behind = torch.minimum(torch.maximum(end[top] // _BLOCK, whole), behind)
    place = torch.arange(columns, device=start.device)
    front = (whole - first)[:, None]
    partial = torch.where(
        place < front, first[:, None] + place, whole_behind[:, None] + place - front
    )
    return (
        *_counted(behind - first - (whole_behind - whole), partial),
        *_counted(whole_behind - whole, whole[:, None] + place),
    )


def _counted(counts: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Return both with axes for batch and heads; places behind the counted ones are of no block."""
    places = places.clamp(max=places.shape[-1] - 1)
    return counts.to(torch.int32)[None, None], places.to(torch.int32)[None, None].contiguous()
