"""What a call is given, and parts of it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from noether_core.nn import Frequencies, KVCache, StructuredMask


class Tokens(NamedTuple):
    """Tokens that ask, or that answer, with what is said of each."""

    x: Tensor
    """``(batch, tokens, width)``."""

    freqs: Frequencies | None
    """What rotates them."""

    real: Tensor | None = None
    """``(batch, tokens)`` booleans, or None where all are real."""

    def take(self, span: slice) -> Tokens:
        """Return the tokens of a span."""
        real = None if self.real is None else self.real[:, span]
        x = self.x[:, span].contiguous()  # one copy, where every layer would make its own
        return Tokens(x, _take_frequencies(self.freqs, span), real)


class Call(NamedTuple):
    """The arguments of a call."""

    asking: Tokens
    """The tokens whose queries read."""

    answering: Tokens | None
    """The tokens that are read, or None where the cache holds what they answer."""

    attn_mask: Tensor | StructuredMask | None
    """The mask over pairs."""

    cache: KVCache | None
    """Filled, or read where no tokens answer."""

    def tensors(self) -> list[Tensor]:
        """Return everything that may ask for a gradient."""
        sets = [tokens for tokens in (self.asking, self.answering) if tokens is not None]
        freqs = [
            freqs
            for tokens in sets
            for freqs in (tokens.freqs if isinstance(tokens.freqs, tuple) else [tokens.freqs])
        ]
        given = [*(tokens.x for tokens in sets), *freqs, self.attn_mask]
        return [each for each in given if isinstance(each, Tensor)]


def take_queries(mask: Tensor | None, span: slice) -> Tensor | None:
    """Return a mask with four axes for some of the queries."""
    return mask if mask is None or mask.shape[-2] == 1 else mask[..., span, :]


def take_keys(mask: Tensor | None, span: slice) -> Tensor | None:
    """Return a mask with four axes for some of the keys."""
    return mask if mask is None or mask.shape[-1] == 1 else mask[..., span]


def _take_frequencies(freqs: Frequencies | None, span: slice) -> Frequencies | None:
    if isinstance(freqs, tuple):
        return tuple(angles[..., span, :] for angles in freqs)
    return None if freqs is None else freqs[..., span, :]
