"""A small transformer from aerofoils to flow; its attention is whatever the config names."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from noether_plugins.workbench.adapters import Geometry, adapt
from noether_plugins.workbench.experiment import Experiment

_SURFACE_FEATURES = 4  # position and normal
_VOLUME_FEATURES = 3  # position and distance from the surface
_OCTAVES = 5


class FlowTransformer(nn.Module):
    """Predicts Cp at surface tokens and velocity at volume tokens, both in units of their spread.

    Pre-norm blocks of attention and MLP (Xiong et al., On Layer Normalization in the Transformer
    Architecture, 2020) over surface and volume tokens together.

    Args:
        experiment: ``attention`` gives the attention and the width, ``model`` the rest.
    """

    def __init__(self, experiment: Experiment) -> None:
        super().__init__()
        width = experiment.attention.hidden_dim
        hidden = max(1, round(width * experiment.model.mlp_ratio))
        self.embed_surface = TokenEmbedding(_SURFACE_FEATURES, width)
        self.embed_volume = TokenEmbedding(_VOLUME_FEATURES, width)
        self.blocks = nn.ModuleList(
            Block(experiment, hidden) for _ in range(experiment.model.depth)
        )
        self.norm = nn.LayerNorm(width)
        self.pressure = nn.Linear(width, 1)
        self.velocity = nn.Linear(width, 2)

    def forward(self, surface: Tensor, volume: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the flow around a batch of aerofoils.

        Args:
            surface: ``(batch, n_surface, 4)``: position and outward normal.
            volume: ``(batch, n_volume, 3)``: position and distance from the surface.

        Returns:
            Pressure ``(batch, n_surface)`` and velocity ``(batch, n_volume, 2)``.
        """
        n_surface = surface.shape[1]
        geometry = Geometry(torch.cat([surface[..., :2], volume[..., :2]], dim=1), n_surface)
        x = torch.cat([self.embed_surface(surface), self.embed_volume(volume)], dim=1)

        for block in self.blocks:
            x = block(x, geometry)

        x = self.norm(x)
        return self.pressure(x[:, :n_surface]).squeeze(-1), self.velocity(x[:, n_surface:])


class Block(nn.Module):
    """Attention and MLP, each normalised before and added after."""

    def __init__(self, experiment: Experiment, hidden: int) -> None:
        super().__init__()
        width = experiment.attention.hidden_dim
        self.attention_norm = nn.LayerNorm(width)
        self.attention = adapt(experiment.attention)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, geometry: Geometry) -> Tensor:
        """Return the tokens after exchange and thought, ``(batch, tokens, hidden_dim)``."""
        x = x + self.attention(self.attention_norm(x), geometry)
        thought: Tensor = self.mlp(self.mlp_norm(x))
        return x + thought


class TokenEmbedding(nn.Module):
    """Features and their sines and cosines over a few octaves, through a small MLP to the width of
    a token.

    The waves let a network resolve detail finer than its inputs (Tancik et al., Fourier Features,
    2020).
    """

    def __init__(self, n_features: int, width: int) -> None:
        super().__init__()
        self.frequencies: Tensor
        self.register_buffer(
            "frequencies", math.pi * 2.0 ** torch.arange(_OCTAVES), persistent=False
        )
        waves = 2 * _OCTAVES * n_features
        self.mlp = nn.Sequential(
            nn.Linear(n_features + waves, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Embed ``(batch, tokens, n_features)`` as ``(batch, tokens, width)``."""
        angles = (features.unsqueeze(-1) * self.frequencies).flatten(-2)
        embedded: Tensor = self.mlp(torch.cat([features, angles.sin(), angles.cos()], dim=-1))
        return embedded
