"""Random numbers by position: the same for a token wherever and whenever it is computed."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX64 = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)
_MIX32 = (0x7FEB352D, 0x846CA68B - 2**32)
_GOLDEN32 = 0x9E3779B9


def draw_seed(device: torch.device) -> Tensor:
    """Draw the seed of `uniform_at` from torch's generator of *device*.

    ``torch.manual_seed`` fixes it.
    """
    return torch.randint(2**62, (1,), device=device)


class Drawing(NamedTuple):
    """By what a call draws random numbers of its tokens."""

    seed: Tensor | None = None
    """What `draw_seed` returned; None where nothing is drawn."""

    first_token: int | Tensor = 0
    """Number of the first of its tokens; or of each of them, ``(tokens,)``, where they are not in
    a row.
    """

    def part(self, start: int) -> Drawing:
        """Return what draws for the tokens from *start* on."""
        first = self.first_token
        if isinstance(first, Tensor):
            return Drawing(self.seed, first[start:])
        return Drawing(self.seed, first + start)

    def beside(self, number: int) -> Drawing:
        """Return what draws other numbers for the same tokens; *number* says which, from 1."""
        if self.seed is None:
            return self
        return Drawing(seed_beside(self.seed, number), self.first_token)


def seed_for(x: Tensor, seed: Tensor | None = None, *, is_random: bool) -> Tensor | None:
    """Return the seed of a call: the one that it was given, or a drawn one; None for no numbers.

    Args:
        x: Tokens of the call.
        seed: What the call was given.
        is_random: Whether the call needs random numbers.
    """
    if not is_random:
        return None
    return draw_seed(x.device) if seed is None else seed


def seed_beside(seed: Tensor | None, number: int) -> Tensor | None:
    """Return a seed of other numbers; *number* says which, from 1."""
    return None if seed is None else seed + number


def uniform_at(
    seed: Tensor, rows: Tensor, columns: int, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return uniform numbers in ``[0, 1)`` that follow from the seed, row and column alone.

    So they need not be kept for a backward pass, and do not depend on how rows are cut into chunks
    or spread over processes. They are multiples of ``2^-24`` in every dtype. It is a counter-based
    generator in the sense of Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011, with
    the finalisers of splitmix64 for a row (Steele et al., Fast Splittable Pseudorandom Number
    Generators, 2014) and of a 32-bit hash with two multiplications for a column.

    Args:
        seed: What `draw_seed` returned, on the device of *rows*.
        rows: Numbers of the rows, integers of any shape.
        columns: Numbers to a row.
        dtype: A floating dtype of at least 24 bits of precision.

    Returns:
        ``(*rows.shape, columns)``.
    """
    return _bits_at(seed, rows, columns).to(dtype).mul_(2.0**-_BITS)


_BITS = 24
"""Bits of a number: what float32 holds exactly."""


def _bits_at(seed: Tensor, rows: Tensor, columns: int) -> Tensor:
    """Return the same numbers as integers from 0 to below ``2^24``."""
    # The seed is added first: compilers work out products of counters in advance, and not as
    # integers that wrap.
    keys = _scrambled((rows.to(torch.int64) + _scrambled(seed.view(()))) * _GOLDEN).unsqueeze(-1)
    low, high = keys.to(torch.int32), (keys >> 32).to(torch.int32)
    offsets = (torch.arange(columns, device=rows.device) * _GOLDEN32).to(torch.int32)

    bits = _xor_shifted_(low ^ offsets, 16).mul_(_MIX32[0]).add_(high)
    bits = _xor_shifted_(bits, 15).mul_(_MIX32[1])
    bits = _xor_shifted_(bits, 16)
    return _shifted(bits, 32 - _BITS, 32)


def _scrambled(keys: Tensor) -> Tensor:
    """Return 64-bit *keys* of which each bit depends on every bit of its input."""
    keys = (keys ^ _shifted(keys, 30, 64)) * _MIX64[0]
    keys = (keys ^ _shifted(keys, 27, 64)) * _MIX64[1]
    return keys ^ _shifted(keys, 31, 64)


def _xor_shifted_(bits: Tensor, count: int) -> Tensor:
    return bits.bitwise_xor_(_shifted(bits, count, 32))


def _shifted(bits: Tensor, count: int, width: int) -> Tensor:
    """Shift to the right as unsigned numbers of *width* bits; torch's shift keeps the sign."""
    return (bits >> count).bitwise_and_((1 << (width - count)) - 1)


def dropout_at(x: Tensor, probability: float, seed: Tensor, rows: Tensor) -> Tensor:
    """Set entries of *x* to zero with a probability, which ones by position, and scale the others.

    The mean stays.

    Args:
        x: ``(rows, ...)``.
        probability: From 0, which changes nothing, to 1.
        seed: What `draw_seed` returned.
        rows: ``(rows,)`` integers: the numbers of the rows of *x*.
    """
    if not probability:
        return x
    is_dropped = _bits_at(seed, rows, math.prod(x.shape[1:])) < math.ceil(probability * 2**_BITS)
    scale = 1 / (1 - probability) if probability < 1 else 0.0
    return (x * scale).masked_fill(is_dropped.view(x.shape), 0.0)


def token_rows(
    entries: int, tokens: int, device: torch.device, *, first: int | Tensor = 0
) -> Tensor:
    """Return numbers of rows for tokens, ``(entries, tokens)``, whatever their total is.

    A token has the same ones however tokens are cut.

    Args:
        entries: Samples, or samples times heads.
        tokens: Tokens of each.
        device: Where the numbers are.
        first: Number of the first token, or of each of at least so many.
    """
    starts = torch.arange(entries, device=device) << _TOKEN_BITS
    if isinstance(first, Tensor):
        return starts.unsqueeze(-1) + first[:tokens]
    return starts.unsqueeze(-1) + torch.arange(first, first + tokens, device=device)


_TOKEN_BITS = 32
"""Bits of the number of a token; those above count the entries."""


def drop_tokens(x: Tensor, probability: float, drawing: Drawing) -> Tensor:
    """Drop what belongs to tokens as `dropout_at` does, the same however tokens are cut.

    Args:
        x: ``(..., tokens, width)``.
        probability: From 0, which changes nothing, to 1.
        drawing: Decides what is dropped; nothing without a seed.
    """
    if not probability or drawing.seed is None:
        return x
    flat = x.flatten(0, -3)
    entries, tokens, _ = flat.shape
    rows = token_rows(entries, tokens, x.device, first=drawing.first_token).flatten()
    return dropout_at(flat.flatten(0, 1), probability, drawing.seed, rows).view(x.shape)


def gumbel(uniform: Tensor) -> Tensor:
    """Return the Gumbel noise of uniform numbers, ``-log(-log(u + eps) + eps)``.

    *eps* is the machine epsilon of their dtype; it keeps both logarithms finite.

    Jang et al., Categorical Reparameterization with Gumbel-Softmax, 2017 (arXiv 1611.01144).
    """
    eps = torch.finfo(uniform.dtype).eps
    return (uniform + eps).log_().neg_().add_(eps).log_().neg_()
