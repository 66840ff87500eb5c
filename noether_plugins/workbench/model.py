"""The model of a run: a transformer over groups of points, with whatever attention is named."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from noether_core import AnyAttention, AttentionConfig
from noether_core.tasks import Layout
from noether_plugins.workbench.experiment import ModelConfig

_OCTAVES = 5

_COORDINATE_SCALE = 32.0
"""Radians that the fastest rotation of ``use_rope`` turns per unit of normalised positions."""


class PointTransformer(nn.Module):
    """Predicts fields of points that come in named groups.

    Pre-norm blocks of attention and MLP (Xiong et al., On Layer Normalization in the Transformer
    Architecture, 2020) over the points of all groups together; each group has an embedding of its
    own, and a linear layer for its fields.

    Args:
        attention: The attention of every block, and the width.
        config: The rest of the transformer.
        layout: The groups in the order in which their points stand, and what is known and to be
            predicted of each point.
    """

    def __init__(self, attention: AttentionConfig, config: ModelConfig, layout: Layout) -> None:
        super().__init__()
        width = attention.hidden_dim
        self.input_dim = layout.coordinates
        self.groups = tuple(layout.groups)
        self.fields = {
            group: {name: field.width for name, field in own.fields.items()}
            for group, own in layout.groups.items()
        }
        # Lists, since a group may have a name that an attribute of modules has.
        self.embeddings = nn.ModuleList(
            TokenEmbedding(n_features(layout, group), width) for group in self.groups
        )
        blocks = [Block(attention, config, input_dim=self.input_dim) for _ in range(config.depth)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleList(_head(width, self.fields[group]) for group in self.groups)
        self.takes_padding = all(
            "key_padding_mask" in block.attention.variant.capabilities for block in blocks
        )
        """Whether samples of unequal sizes can be computed together."""

    def forward(
        self, features: Mapping[str, Tensor], real: Mapping[str, Tensor] | None = None
    ) -> dict[str, dict[str, Tensor]]:
        """Predict the fields of a batch of samples.

        Args:
            features: For each group ``(batch, points, features)``: the position first, then the
                inputs of the point, then those of its sample.
            real: For each group ``(batch, points)`` booleans, False for padding, whose predictions
                mean nothing; None where all points are real.

        Returns:
            Fields by group and name, each ``(batch, points, width)``.

        Raises:
            UnsupportedArgumentError: If *real* is given and `takes_padding` is False.
        """
        sizes = {group: features[group].shape[1] for group in self.groups}
        positions = torch.cat(
            [features[group][..., : self.input_dim] for group in self.groups], dim=1
        )
        embedded = [
            embed(features[group])
            for group, embed in zip(self.groups, self.embeddings, strict=True)
        ]
        x = torch.cat(embedded, dim=1)
        mask = None if real is None else torch.cat([real[group] for group in self.groups], dim=1)

        for block in self.blocks:
            x = block(x, positions, sizes, mask)

        fields: dict[str, dict[str, Tensor]] = {}
        by_group = self.norm(x).split(list(sizes.values()), dim=1)
        for tokens, group, head in zip(by_group, self.groups, self.heads, strict=True):
            widths = self.fields[group]
            if widths:
                parts = head(tokens).split(list(widths.values()), dim=-1)
                fields[group] = dict(zip(widths, parts, strict=True))
        return fields


def n_features(layout: Layout, group: str) -> int:
    """Return how many numbers are known of each point of a group, its coordinates among them."""
    inputs = [*layout.groups[group].inputs.values(), *layout.inputs.values()]
    return layout.coordinates + sum(quantity.width for quantity in inputs)


def _head(width: int, fields: Mapping[str, int]) -> nn.Module:
    """Return the layer of a group's fields; a group without any, which only informs, has none."""
    return nn.Linear(width, sum(fields.values())) if fields else nn.Identity()


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

    def forward(
        self, x: Tensor, positions: Tensor, sizes: Mapping[str, int], real: Tensor | None = None
    ) -> Tensor:
        """Return the tokens ``(batch, tokens, hidden_dim)`` after attention and MLP.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            positions: ``(batch, tokens, input_dim)``.
            sizes: Tokens of each group.
            real: ``(batch, tokens)`` booleans, False for padding; None where there is none.
        """
        x = x + self.attention(
            self.attention_norm(x), positions=positions, groups=sizes, key_padding_mask=real
        )
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
