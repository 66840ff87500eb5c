"""Which masks there are: those that are described and not written out, and how tensors combine."""

from __future__ import annotations

import dataclasses
import operator
from typing import TYPE_CHECKING, TypeAlias, overload

import torch

from noether_core.errors import MaskError
from noether_core.nn.streaming import is_exported

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from noether_core.nn.rope import Frequencies

# They are dataclasses and not attrs classes, since compilers trace how a dataclass is made.


@dataclasses.dataclass(frozen=True, slots=True)
class Causal:
    """Each query attends to the keys up to its own position: query ``i`` to ``j <= i``.

    Queries and keys are counted from their first ones, also where they differ in number.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class SlidingWindow:
    """Each query attends to the keys around its own position: ``-before <= j - i <= after``.

    Queries and keys are counted from their first ones, also where they differ in number.
    ``SlidingWindow(before, 0)`` is causal.

    Beltagy et al., Longformer, 2020 (arXiv 2004.05150), section 3.1.

    Raises:
        MaskError: If a number is negative or no integer.
    """

    before: int
    """Keys before its own position that a query attends to."""

    after: int
    """Keys after its own position that a query attends to."""

    def __post_init__(self) -> None:
        for name in ("before", "after"):
            object.__setattr__(self, name, _natural(getattr(self, name), f"SlidingWindow: {name}"))


@dataclasses.dataclass(frozen=True, slots=True)
class Packed:
    """Samples of several lengths lie one behind the other, each attending to itself alone.

    ``Packed((100, 57))`` is one sample of 100 tokens and behind it one of 57; every entry of the
    batch is packed so. In cross-attention the keys have lengths of their own.

    Raises:
        MaskError: If a length is negative or no integer, or queries and keys are of different
            numbers of samples.
    """

    lengths: tuple[int, ...]
    """Queries of each sample; without *key_lengths*, keys too. Any iterable of integers, kept as a
    tuple.
    """

    key_lengths: tuple[int, ...] | None = None
    """Keys of each sample."""

    def __post_init__(self) -> None:
        lengths = _naturals(self.lengths, "lengths")
        keys = lengths if self.key_lengths is None else _naturals(self.key_lengths, "key_lengths")
        if len(keys) != len(lengths):
            raise MaskError(
                f"Packed: got {len(keys)} key_lengths, wanted {len(lengths)}, "
                "one for each of the lengths"
            )
        object.__setattr__(self, "lengths", lengths)
        object.__setattr__(self, "key_lengths", keys)


StructuredMask: TypeAlias = Causal | SlidingWindow | Packed
"""A mask that `noether_core.nn.attend` takes in place of a tensor, and never writes out."""


def _naturals(numbers: Iterable[int], name: str) -> tuple[int, ...]:
    return tuple(
        _natural(number, f"Packed: {name}[{index}]") for index, number in enumerate(numbers)
    )


def _natural(number: int, name: str) -> int:
    try:
        index = operator.index(number)
    except TypeError:
        raise MaskError(f"{name}: got {number!r}, wanted an integer") from None
    if index < 0:
        raise MaskError(f"{name}: got {index}, wanted at least 0")
    return index


_LARGEST_PADDING = 1e4
"""Padding above it is put to zero: products of such numbers may overflow, in half precision too."""


@overload
def zero_padding(tokens: Tensor, key_padding_mask: Tensor | None) -> Tensor: ...
@overload
def zero_padding(
    tokens: Frequencies | None, key_padding_mask: Tensor | None
) -> Frequencies | None: ...


def zero_padding(tokens: Frequencies | None, key_padding_mask: Tensor | None) -> Frequencies | None:
    """Return *tokens* with zeros for padding that a mask cannot keep out, so it may hold anything.

    A mask alone does not keep out what is not finite: zero times NaN is NaN, in the products with
    values as in the gradients of weights. Called in the first lines of a ``forward``, on tokens and
    on what rotates them, this does: a row of padding that holds NaN, infinity or a number above
    10,000, of which products may overflow, is one of zeros. No gradient reaches what stood there.
    Padding of ordinary numbers stays as it is; what it attends to as a query has its usual values.

    Args:
        tokens: ``(batch, tokens, width)``, or frequencies as `RopeFrequency` returns them, or None.
        key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens; None changes nothing.
    """
    if key_padding_mask is None or tokens is None:
        return tokens
    if isinstance(tokens, torch.Tensor):
        return _zero_unusable(tokens, key_padding_mask)
    return tuple([_zero_unusable(each, key_padding_mask) for each in tokens])


def _zero_unusable(tokens: Tensor, is_real: Tensor) -> Tensor:
    if tokens.is_complex() and is_exported():  # few formats have complex numbers
        pairs = torch.view_as_real(tokens)
        zeroed = _zero_unusable(pairs.flatten(-2), is_real)
        return torch.view_as_complex(zeroed.view_as(pairs))
    # Compared so that NaN is unusable too.
    is_usable = (tokens.detach().abs() <= _LARGEST_PADDING).all(dim=-1, keepdim=True)
    return tokens.masked_fill(~(is_usable | is_real.unsqueeze(-1)), 0)


def combine_masks(attn_mask: Tensor | None, key_padding_mask: Tensor | None) -> Tensor | None:
    """Return one mask with four axes that hides what either mask hides, or None without any.

    Args:
        attn_mask: As in `noether_core.nn.attend`; a boolean one stays boolean.
        key_padding_mask: As in `noether_core.nn.attend`.

    Returns:
        A mask that broadcasts to ``(batch, heads, queries, keys)``; with padding alone, ``(batch,
        1, 1, keys)``.
    """
    if attn_mask is not None:
        # The fast kernels take masks with all four axes only.
        attn_mask = attn_mask[(None,) * (4 - attn_mask.dim())]
    if key_padding_mask is None:
        return attn_mask

    is_real = key_padding_mask[:, None, None, :]
    if attn_mask is None:
        return is_real
    if attn_mask.dtype == torch.bool:
        return attn_mask & is_real
    return attn_mask.masked_fill(~is_real, float("-inf"))
