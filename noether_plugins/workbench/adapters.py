"""One adapter per interface, so that a model can hold the attention of any variant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from noether_core import AttentionConfig, AttentionVariant, TokenSpec, build, registry
from noether_core.nn import RopeFrequency

_ROPE_SCALE = 32.0
"""Angle between neighbouring features of the fastest rotation, in radians per chord."""

_ANCHOR_STRIDE = 4
"""One token in this many is an anchor where a variant asks for anchors."""


@attrs.frozen(eq=False)
class Geometry:
    """Where the tokens of a batch are: surface tokens first, volume tokens behind them."""

    positions: Tensor
    """``(batch, tokens, 2)``, in chords."""

    n_surface: int
    """Number of surface tokens."""


class AttentionAdapter(nn.Module):
    """Calls the attention of one interface with the tokens of a batch and where they are.

    Args:
        config: The concrete config of the attention.
    """

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        variant = registry().variant_of(config)
        self.attention = build(config)
        self.takes_positions = "positions" in variant.capabilities
        self.rope = (
            RopeFrequency(hidden_dim=config.head_dim, input_dim=2) if config.use_rope else None
        )

    def frequencies(self, geometry: Geometry) -> Any:
        """Return what rotates the tokens, or None for a variant that rotates nothing."""
        return None if self.rope is None else self.rope(geometry.positions * _ROPE_SCALE)


class SelfAdapter(AttentionAdapter):
    """Every token attends to every token."""

    def forward(self, x: Tensor, geometry: Geometry) -> Tensor:
        """Return the attended tokens, ``(batch, tokens, hidden_dim)``."""
        arguments: dict[str, Any] = {}
        if self.rope is not None:
            arguments["freqs"] = self.frequencies(geometry)
        if self.takes_positions:
            arguments["positions"] = geometry.positions
        attended: Tensor = self.attention(x, **arguments)
        return attended


class CrossAdapter(AttentionAdapter):
    """Every token asks, and every token answers."""

    def forward(self, x: Tensor, geometry: Geometry) -> Tensor:
        """Return the attended tokens, ``(batch, tokens, hidden_dim)``."""
        freqs = self.frequencies(geometry)
        attended: Tensor = self.attention(x, x, q_freqs=freqs, k_freqs=freqs)
        return attended


class TokensAdapter(AttentionAdapter):
    """Surface and volume are two branches; every fourth token of each is an anchor."""

    def forward(self, x: Tensor, geometry: Geometry) -> Tensor:
        """Return the attended tokens, ``(batch, tokens, hidden_dim)``."""
        specs, order = _groups(geometry.n_surface, x.shape[1], x.device)
        ordered = attrs.evolve(geometry, positions=geometry.positions[:, order])
        attended: Tensor = self.attention(x[:, order], specs, freqs=self.frequencies(ordered))
        return attended[:, order.argsort()]


def _groups(n_surface: int, n_tokens: int, device: torch.device) -> tuple[list[TokenSpec], Tensor]:
    """Return the groups of tokens, anchors before queries in each branch, and the order that brings
    them together.
    """
    specs: list[TokenSpec] = []
    parts: list[Tensor] = []
    for branch, indices in (
        ("surface", torch.arange(n_surface, device=device)),
        ("volume", torch.arange(n_surface, n_tokens, device=device)),
    ):
        is_anchor = (indices - indices[0]) % _ANCHOR_STRIDE == 0
        for kind, chosen in (("anchors", indices[is_anchor]), ("queries", indices[~is_anchor])):
            specs.append(TokenSpec(f"{branch}_{kind}", len(chosen)))
            parts.append(chosen)
    return specs, torch.cat(parts)


_ADAPTERS: Mapping[str, type[AttentionAdapter]] = {
    "self": SelfAdapter,
    "cross": CrossAdapter,
    "tokens": TokensAdapter,
}


def adapt(config: AttentionConfig) -> AttentionAdapter:
    """Return the attention that *config* describes, behind the adapter of its interface."""
    variant: AttentionVariant = registry().variant_of(config)
    return _ADAPTERS[variant.interface](config)
