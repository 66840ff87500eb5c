"""The model of a run: a transformer over groups of points, with whatever attention is named."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import torch
from torch import Tensor, nn

from noether_core import AnyAttention, AttentionConfig
from noether_plugins.workbench.experiment import ModelConfig

_OCTAVES = 5

_COORDINATE_SCALE = 32.0
"""Radians that the fastest rotation of ``use_rope`` turns per unit of length."""


@attrs.frozen
class PointGroup:
    """What is known of each point of a group, and what is to be predicted there."""

    n_features: int
    """Numbers that are known of a point, its coordinates first."""

    fields: Mapping[str, int]
    """Width of each field to predict, by name."""


class PointTransformer(nn.Module):
    """Predicts fields of points that come in named groups.

    Pre-norm blocks of attention and MLP (Xiong et al., On Layer Normalization in the Transformer
    Architecture, 2020) over the points of all groups together; each group has an embedding of its
    own, and a linear layer for its fields.

    Args:
        attention: The attention of every block, and the width.
        config: The rest of the transformer.
        groups: The groups by name, in the order in which their points stand.
        input_dim: Coordinates of a point.
    """

    def __init__(
        self,
        attention: AttentionConfig,
        config: ModelConfig,
        groups: Mapping[str, PointGroup],
        *,
        input_dim: int,
    ) -> None:
        super().__init__()
        width = attention.hidden_dim
        self.input_dim = input_dim
        self.embeddings = nn.ModuleDict(
            {name: TokenEmbedding(group.n_features, width) for name, group in groups.items()}
        )
        self.blocks = nn.ModuleList(
            Block(attention, config, input_dim=input_dim) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width)
        self.fields = {name: dict(group.fields) for name, group in groups.items()}
        self.heads = nn.ModuleDict(
            {name: nn.Linear(width, sum(fields.values())) for name, fields in self.fields.items()}
        )

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Predict the fields of a batch of samples.

        Args:
            inputs: For each group ``(batch, points, n_features)``.

        Returns:
            For each field ``(batch, points of its group, width)``.
        """
        sizes = {name: inputs[name].shape[1] for name in self.embeddings}
        positions = torch.cat([inputs[name][..., : self.input_dim] for name in sizes], dim=1)
        x = torch.cat([embed(inputs[name]) for name, embed in self.embeddings.items()], dim=1)

        for block in self.blocks:
            x = block(x, positions, sizes)

        fields: dict[str, Tensor] = {}
        by_group = self.norm(x).split(list(sizes.values()), dim=1)
        for tokens, (name, head) in zip(by_group, self.heads.items(), strict=True):
            widths = self.fields[name]
            fields.update(zip(widths, head(tokens).split(list(widths.values()), -1), strict=True))
        return fields


class Block(nn.Module):
    """Attention and MLP, each normalised before and added after."""

    def __init__(self, attention: AttentionConfig, config: ModelConfig, *, input_dim: int) -> None:
        super().__init__()
        width = attention.hidden_dim
        hidden = max(1, round(width * config.mlp_ratio))
        self.attention_norm = nn.LayerNorm(width)
        self.attention = AnyAttention(
            attention, input_dim=input_dim, coordinate_scale=_COORDINATE_SCALE
        )
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, positions: Tensor, sizes: Mapping[str, int]) -> Tensor:
        """Return the tokens ``(batch, tokens, hidden_dim)`` after attention and MLP.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            positions: ``(batch, tokens, input_dim)``.
            sizes: Tokens of each group.
        """
        x = x + self.attention(self.attention_norm(x), positions=positions, groups=sizes)
        y: Tensor = x + self.mlp(self.mlp_norm(x))
        return y


class TokenEmbedding(nn.Module):
    """An MLP from features, and their sines and cosines over a few octaves, to a token.

    The waves let a network resolve detail finer than its inputs (Tancik et al., Fourier Features,
    2020).
    """

    def __init__(self, n_features: int, width: int) -> None:
        super().__init__()
        self.frequencies: Tensor
        self.register_buffer("frequencies", _octaves(None), persistent=False)
        n_waves = 2 * _OCTAVES * n_features
        self.mlp = nn.Sequential(
            nn.Linear(n_features + n_waves, width), nn.GELU(), nn.Linear(width, width)
        )

    def reset_parameters(self) -> None:
        """Compute the frequencies anew, where they are."""
        self.frequencies = _octaves(self.frequencies.device).to(self.frequencies.dtype)

    def forward(self, features: Tensor) -> Tensor:
        """Embed ``(batch, tokens, n_features)`` as ``(batch, tokens, width)``."""
        angles = (features.unsqueeze(-1) * self.frequencies).flatten(-2)
        embedded: Tensor = self.mlp(torch.cat([features, angles.sin(), angles.cos()], dim=-1))
        return embedded


def _octaves(device: torch.device | None) -> Tensor:
    return math.pi * 2.0 ** torch.arange(_OCTAVES, device=device)
