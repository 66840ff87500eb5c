"""How attention under each described mask is computed without writing the mask out."""

from __future__ import annotations

import importlib.util
import itertools
import math
from typing import TYPE_CHECKING, Final, NamedTuple, TypeGuard

import torch
from torch import Tensor
from torch.nn import functional

from noether_core.nn.kernels import has_tangents
from noether_core.nn.masks import Causal, Packed, SlidingWindow, StructuredMask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from noether_core.nn.kernels import Kernel

_FAR = 2.0**15
"""Its square, or itself, subtracted from a logit leaves no weight; every dtype can hold it."""

_BLOCK: Final = 128
"""Fewest queries of a block; with fewer of them, kernels are called for too little."""

_FLASH_WIDTHS = range(8, 257, 8)
"""Widths of a head that the flash kernel takes."""


class AttentionCall(NamedTuple):
    """What attention is called with, but for the described mask."""

    queries: Tensor
    keys: Tensor
    values: Tensor
    key_padding_mask: Tensor | None
    kernel: Kernel
    dropout: float
    scale: float | None


def attend_structured(mask: StructuredMask, call: AttentionCall) -> Tensor:
    """Attend under *mask*, whichever of the described ones it is."""
    return _ATTEND_UNDER[type(mask)](mask, call)


def attend_causally(_: Causal, call: AttentionCall) -> Tensor:
    """Attend under `Causal`.

    Kernels know causal attention by themselves, and take no mask beside it. Padding is hidden by
    one more feature of the heads: a large negative number in keys of padding and zero in others, a
    large positive one in queries.
    """
    queries, keys, values, is_real, kernel, dropout, scale = call
    if scale is not None and scale < 0:
        # Kernels hide later keys before they scale, and would turn minus infinity around.
        queries, scale = -queries, -scale
    if is_real is None:
        return kernel(queries, keys, values, None, dropout, True, scale=scale)

    # The kernel scales in its own bits, where queries would be rounded; a scale that brought the
    # large numbers near to logits acts on the queries all the same.
    scale = 1 / math.sqrt(queries.shape[-1]) if scale is None else scale
    if scale < 1 / _FAR:
        queries, scale = queries * scale, 1.0
    hidden = torch.zeros_like(is_real, dtype=keys.dtype).masked_fill(~is_real, -_FAR)
    hidden = hidden[:, None, :, None].expand(-1, keys.shape[1], -1, -1)

    attended = kernel(
        functional.pad(queries, (0, 1), value=_FAR),
        torch.cat((keys, hidden), dim=-1),
        functional.pad(values, (0, 1)),
        None,
        dropout,
        True,
        scale=scale,
    )

    # A query in front of the first real key has nothing to attend to.
    longer = queries.shape[2] - keys.shape[2]
    has_keys = functional.pad(is_real, (0, longer)).cumsum(dim=1) > 0
    return attended[..., :-1].masked_fill(~has_keys[:, None, :, None], 0.0)


def attend_in_windows(window: SlidingWindow, call: AttentionCall) -> Tensor:
    """Attend under `SlidingWindow`.

    Blocks of queries attend, all in one call, to the keys of any query of the block. Blocks of half
    a window attend to at most three times as many keys as there are.
    """
    queries, keys, values, is_real, kernel, dropout, scale = call
    reach = window.before + window.after
    block = max(_BLOCK, reach // 2)
    width = block + reach
    tokens = queries.shape[2]

    # A graph serves every number of tokens, so that it cannot depend on it.
    is_compiling = torch.compiler.is_compiling()
    if not is_compiling and (tokens == 0 or width >= keys.shape[2]):
        mask = _band(tokens, keys.shape[2], window.before, window.after, queries.device)[None, None]
        if is_real is not None:
            mask = mask & is_real[:, None, None]
        return kernel(queries, keys, values, mask, dropout, scale=scale)

    # With one window or many, graphs would differ.
    count = tokens // block + 2 if is_compiling else math.ceil(tokens / block)
    margins = _Margins(window.before, count * block + window.after - keys.shape[2])
    near = _band(block, width, 0, reach, queries.device)
    mask = near & _real_in_windows(keys, is_real, margins, width, block)

    attended = kernel(
        _in_windows(queries, _Margins(0, count * block - tokens), block, block),
        _in_windows(keys, margins, width, block),
        _in_windows(values, margins, width, block),
        mask.flatten(0, 1).unsqueeze(1),
        dropout,
        scale=scale,
    )

    batch, heads = queries.shape[:2]
    tokens_first = attended.transpose(1, 2).reshape(batch, count * block, heads, values.shape[-1])
    without_rest = functional.pad(tokens_first, (0, 0, 0, 0, 0, tokens - count * block))
    return without_rest.transpose(1, 2)


class _Margins(NamedTuple):
    """Tokens that are put before and after the others, and if negative are taken away."""

    before: int
    after: int


def _in_windows(x: Tensor, margins: _Margins, width: int, step: int) -> Tensor:
    """Return the tokens of *x* in windows that are entries of a batch.

    Args:
        x: ``(batch, heads, tokens, head_dim)``.
        margins: What is added to the tokens.
        width: Tokens of a window.
        step: Tokens from the start of one window to that of the next.

    Returns:
        ``(batch * windows, heads, width, head_dim)``.
    """
    tokens_first = functional.pad(x.transpose(1, 2), (0, 0, 0, 0, *margins))
    return tokens_first.unfold(1, width, step).transpose(-2, -1).flatten(0, 1)


def _real_in_windows(
    keys: Tensor, is_real: Tensor | None, margins: _Margins, width: int, step: int
) -> Tensor:
    """Return which keys of each window are there and real, ``(batch, windows, 1, width)``."""
    if is_real is None:
        is_real = torch.ones(keys.shape[0], keys.shape[2], dtype=torch.bool, device=keys.device)
    return functional.pad(is_real, margins).unfold(1, width, step).unsqueeze(2)


def _band(queries: int, keys: int, before: int, after: int, device: torch.device) -> Tensor:
    """Return ``(queries, keys)`` booleans: whether a key is that near to a query."""
    distance = torch.arange(keys, device=device) - torch.arange(queries, device=device)[:, None]
    return (distance >= -before) & (distance <= after)


def attend_packed(packed: Packed, call: AttentionCall) -> Tensor:
    """Attend under `Packed`.

    Samples of equal lengths that follow one another attend in one call.
    """
    queries, keys, values, key_padding_mask, kernel, dropout, scale = call
    batch = queries.shape[0]
    runs = _equal_samples(packed)
    split_queries = queries.split_with_sizes([run.samples * run.queries for run in runs], 2)
    key_counts = [run.samples * run.keys for run in runs]
    split_keys = keys.split_with_sizes(key_counts, 2)
    split_values = values.split_with_sizes(key_counts, 2)
    split_real: Iterable[Tensor | None] = [None] * len(runs)
    if key_padding_mask is not None:
        split_real = key_padding_mask.split_with_sizes(key_counts, 1)

    packed_again = []
    for run, some_queries, some_keys, some_values, is_real in zip(
        runs, split_queries, split_keys, split_values, split_real, strict=True
    ):
        attended = kernel(
            _unpacked(some_queries, run.samples),
            _unpacked(some_keys, run.samples),
            _unpacked(some_values, run.samples),
            None if is_real is None else is_real.reshape(batch * run.samples, 1, 1, run.keys),
            dropout,
            scale=scale,
        )
        packed_again.append(_packed(attended, run.samples))
    return torch.cat(packed_again, dim=1).transpose(1, 2)


class _EqualSamples(NamedTuple):
    """Samples of equal lengths, one behind the other."""

    samples: int
    queries: int
    keys: int


def _equal_samples(packed: Packed) -> list[_EqualSamples]:
    """Return the samples, those together that follow one another and are of equal lengths."""
    samples = zip(packed.lengths, _key_lengths(packed), strict=True)
    runs = [
        _EqualSamples(len(list(run)), queries, keys)
        for (queries, keys), run in itertools.groupby(samples)
    ]
    return runs or [_EqualSamples(1, 0, 0)]


def _key_lengths(packed: Packed) -> tuple[int, ...]:
    return packed.lengths if packed.key_lengths is None else packed.key_lengths


def _unpacked(x: Tensor, count: int) -> Tensor:
    """Return *count* samples of equal lengths, ``(batch, heads, tokens, ..)``, as batch entries."""
    batch, heads, tokens, width = x.shape
    return x.transpose(1, 2).reshape(batch * count, tokens // count, heads, width).transpose(1, 2)


def _packed(x: Tensor, count: int) -> Tensor:
    """Undo `_unpacked`, and return ``(batch, tokens, heads, head_dim)``."""
    samples, heads, length, width = x.shape
    return x.transpose(1, 2).reshape(samples // count, count * length, heads, width)


def is_packed_at_once(
    mask: StructuredMask, queries: Tensor, key_padding_mask: Tensor | None, dropout: float
) -> TypeGuard[Packed]:
    """Return whether torch's ``varlen_attn`` serves, one flash kernel for all samples.

    It runs on CUDA in half precision, and knows neither dropout nor padding. Derivatives in forward
    mode would be zero.
    """
    if not isinstance(mask, Packed) or key_padding_mask is not None or dropout:
        return False
    is_half = queries.dtype in (torch.float16, torch.bfloat16)
    if not queries.is_cuda or not is_half or queries.shape[-1] not in _FLASH_WIDTHS:
        return False
    if min(mask.lengths + _key_lengths(mask), default=0) == 0:
        return False
    return not has_tangents(queries) and _has_varlen(queries.device)


def attend_packed_at_once(
    packed: Packed, queries: Tensor, keys: Tensor, values: Tensor, *, scale: float | None
) -> Tensor:
    """Attend under `Packed` by torch's ``varlen_attn``, where `is_packed_at_once` says so."""
    from torch.nn.attention.varlen import varlen_attn

    batch, lengths, key_lengths = queries.shape[0], packed.lengths, _key_lengths(packed)
    # Entries of the batch are further samples.
    queries, keys, values = (x.transpose(1, 2).flatten(0, 1) for x in (queries, keys, values))
    result = varlen_attn(
        queries,
        keys,
        values,
        _offsets(lengths * batch, queries.device),
        _offsets(key_lengths * batch, queries.device),
        max(lengths),
        max(key_lengths),
        scale=scale,
    )
    # Some versions of torch return the logarithms of sums beside it.
    attended = result if isinstance(result, Tensor) else result[0]
    return attended.view(batch, -1, *attended.shape[1:]).transpose(1, 2)


def _offsets(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32, device=device)


def _has_varlen(device: torch.device) -> bool:
    """Return whether this torch has ``varlen_attn``, and *device* the flash kernel behind it."""
    is_there = importlib.util.find_spec("torch.nn.attention.varlen") is not None
    if not is_there or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


_ATTEND_UNDER: Final[Mapping[type, Callable[..., Tensor]]] = {
    Causal: attend_causally,
    SlidingWindow: attend_in_windows,
    Packed: attend_packed,
}
"""How attention under each mask becomes attention that kernels know."""
