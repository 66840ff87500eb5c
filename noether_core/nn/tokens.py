"""Tokens with what is known of each, of which some are taken at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from noether_core.nn.domains import runs_within
from noether_core.nn.masks import zero_padding

if TYPE_CHECKING:
    from noether_core.nn.domains import DomainRuns
    from noether_core.nn.rope import Frequencies


class Tokens(NamedTuple):
    """Tokens of queries, or of keys and values, with what is known of each."""

    x: Tensor
    """``(batch, tokens, width)``."""

    freqs: Frequencies | None = None
    """What rotates them."""

    real: Tensor | None = None
    """``(batch, tokens)`` booleans, or None where all are real."""

    runs: DomainRuns | None = None
    """Their domains, or None where all share their weights."""

    def take(self, span: slice) -> Tokens:
        """Return the tokens of a span."""
        x = self.x[:, span].contiguous()  # one copy, where every layer would make its own
        real = None if self.real is None else self.real[:, span]
        runs = None if self.runs is None else runs_within(self.runs, span)
        return Tokens(x, _take_freqs(self.freqs, span), real, runs)

    def usable(self) -> Tokens:
        """Return the same with zeros for padding that no product can bear."""
        if self.real is None:
            return self
        x, freqs = zero_padding(self.x, self.real), zero_padding(self.freqs, self.real)
        return self._replace(x=x, freqs=freqs)

    def tensors(self) -> list[Tensor]:
        """Return the tensors that gradients may be due of."""
        if self.freqs is None:
            return [self.x]
        if isinstance(self.freqs, Tensor):
            return [self.x, self.freqs]
        return [self.x, *self.freqs]


def _take_freqs(freqs: Frequencies | None, span: slice) -> Frequencies | None:
    if freqs is None:
        return None
    if isinstance(freqs, Tensor):
        return freqs[..., span, :]
    return tuple(angles[..., span, :] for angles in freqs)
