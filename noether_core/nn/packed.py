"""Attention of samples of several lengths that lie one behind the other."""

from __future__ import annotations

import importlib.util
import itertools
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor

from noether_core.nn.kernels import has_tangents
from noether_core.nn.structured_masks import Packed, StructuredMask

if TYPE_CHECKING:
    from noether_core.nn.kernels import Kernel

_FLASH_WIDTHS = range(8, 257, 8)
"""Widths of a head that the flash kernel takes."""


def attend_packed(
    packed: Packed,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    real: Tensor | None,
    kernel: Kernel,
    dropout: float,
    scale: float | None,
) -> Tensor:
    """Attend under `Packed`; arguments as `noether_core.nn.attend` takes them.

    Samples of equal lengths that follow one another attend in one call.
    """
    batch = queries.shape[0]
    runs = [(lengths, len(list(run))) for lengths, run in itertools.groupby(_samples(packed))] or [
        ((0, 0), 1)
    ]
    query_counts = [length * count for (length, _), count in runs]
    key_counts = [length * count for (_, length), count in runs]
    reals = [None] * len(runs) if real is None else real.split_with_sizes(key_counts, 1)

    read = [
        kernel(
            _apart(some_queries, count),
            _apart(some_keys, count),
            _apart(some_values, count),
            None if some_real is None else some_real.reshape(batch * count, 1, 1, length),
            dropout,
            scale=scale,
        )
        for ((_, length), count), some_queries, some_keys, some_values, some_real in zip(
            runs,
            queries.split_with_sizes(query_counts, 2),
            keys.split_with_sizes(key_counts, 2),
            values.split_with_sizes(key_counts, 2),
            reals,
            strict=True,
        )
    ]

    behind = [_behind(some, count) for some, (_, count) in zip(read, runs, strict=True)]
    return torch.cat(behind, dim=1).transpose(1, 2)


def is_packed_at_once(
    mask: StructuredMask, queries: Tensor, real: Tensor | None, dropout: float
) -> TypeGuard[Packed]:
    """Return whether torch's ``varlen_attn`` serves, one flash kernel for all samples.

    It runs on CUDA in half precision, and knows neither dropout nor padding. Derivatives in forward
    mode would be zero.
    """
    return (
        isinstance(mask, Packed)
        and queries.is_cuda
        and queries.dtype in (torch.float16, torch.bfloat16)
        and real is None
        and not dropout
        and queries.shape[-1] in _FLASH_WIDTHS
        and min(mask.lengths + _key_lengths(mask), default=0) > 0
        and not has_tangents(queries)
        and _has_varlen(queries.device)
    )


def attend_packed_at_once(
    packed: Packed, queries: Tensor, keys: Tensor, values: Tensor, *, scale: float | None
) -> Tensor:
    """Attend under `Packed` by torch's ``varlen_attn``, where `is_packed_at_once` says so."""
    from torch.nn.attention.varlen import varlen_attn

    batch, lengths, key_lengths = queries.shape[0], packed.lengths, _key_lengths(packed)
    # Entries of the batch are further samples.
    queries, keys, values = (x.transpose(1, 2).flatten(0, 1) for x in (queries, keys, values))
    found = varlen_attn(
        queries,
        keys,
        values,
        _offsets(lengths * batch, queries.device),
        _offsets(key_lengths * batch, queries.device),
        max(lengths),
        max(key_lengths),
        scale=scale,
    )
    read = found if isinstance(found, Tensor) else found[0]
    return read.view(batch, -1, *read.shape[1:]).transpose(1, 2)


def _samples(packed: Packed) -> zip[tuple[int, int]]:
    return zip(packed.lengths, _key_lengths(packed), strict=True)


def _key_lengths(packed: Packed) -> tuple[int, ...]:
    return packed.lengths if packed.key_lengths is None else packed.key_lengths


def _apart(x: Tensor, count: int) -> Tensor:
    """Return *count* samples of equal lengths, ``(batch, heads, tokens, ..)``, as entries of the
    batch.
    """
    batch, heads, tokens, width = x.shape
    return x.transpose(1, 2).reshape(batch * count, tokens // count, heads, width).transpose(1, 2)


def _behind(x: Tensor, count: int) -> Tensor:
    """Undo `_apart`, and return ``(batch, tokens, heads, head_dim)``."""
    samples, heads, length, width = x.shape
    return x.transpose(1, 2).reshape(samples // count, count * length, heads, width)


def _offsets(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32, device=device)


def _has_varlen(device: torch.device) -> bool:
    """Return whether this torch has ``varlen_attn``, and *device* the flash kernel behind it."""
    is_there = importlib.util.find_spec("torch.nn.attention.varlen") is not None
    return (
        is_there
        and torch.version.hip is None
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )
