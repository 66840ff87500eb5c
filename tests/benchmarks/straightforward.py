"""Straightforward forms, for the pictures: each formula as it is written down."""

from __future__ import annotations

from typing import Any

import torch
from scipy.spatial import KDTree
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

_WIDTH, _HEADS = 256, 8
_HEAD_DIM = _WIDTH // _HEADS


class Slices(nn.Module):
    """Physics attention by einsum, with the weight of every token for every slice in memory."""

    def __init__(self, num_slices: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.full((1, _HEADS, 1, 1), 0.5))
        self.x, self.features, self.proj = (nn.Linear(_WIDTH, _WIDTH) for _ in range(3))
        self.slice = nn.Linear(_HEAD_DIM, num_slices)
        self.q, self.k, self.v = (nn.Linear(_HEAD_DIM, _HEAD_DIM, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, tokens, hidden_dim)`` to the same shape."""
        states, features = _split(self.x(x)), _split(self.features(x))
        weights = (self.slice(states) / self.temperature).softmax(dim=-1)

        sums = torch.einsum("bhnc,bhng->bhgc", features, weights)
        slices = sums / (weights.sum(dim=2).unsqueeze(-1) + 1e-5)
        slices = scaled_dot_product_attention(self.q(slices), self.k(slices), self.v(slices))

        y: Tensor = self.proj(_merged(torch.einsum("bhgc,bhng->bhnc", slices, weights)))
        return y


class Neighbours(nn.Module):
    """Attention over the keys and values of all neighbours, gathered before it begins."""

    def __init__(self, max_degree: int, radius: float, inner: int) -> None:
        super().__init__()
        self.max_degree, self.radius = max_degree, radius
        self.q, self.k, self.v, self.proj = (nn.Linear(_WIDTH, _WIDTH) for _ in range(4))
        self.bias = nn.Sequential(nn.Linear(3, inner), nn.GELU(), nn.Linear(inner, _HEADS))

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Map ``(1, tokens, hidden_dim)`` at ``(1, tokens, 3)`` to the same shape."""
        tokens, points = x.shape[1], positions[0]
        distances, found = KDTree(points.cpu()).query(
            points.cpu(), self.max_degree, distance_upper_bound=self.radius, workers=-1
        )
        near = torch.from_numpy(found).to(x.device).clamp(max=tokens - 1)
        is_near = torch.from_numpy(distances).to(x.device).isfinite()

        queries = self.q(x).view(tokens, 1, _HEADS, _HEAD_DIM)
        keys, values = (
            layer(x).view(tokens, _HEADS, _HEAD_DIM)[near] for layer in (self.k, self.v)
        )
        logits = (queries * keys).sum(-1) / _HEAD_DIM**0.5 + self.bias(
            points[near] - points.unsqueeze(1)
        )
        shares = logits.masked_fill(~is_near.unsqueeze(-1), -torch.inf).softmax(dim=1)

        y: Tensor = self.proj((shares.unsqueeze(-1) * values).sum(1).view(1, tokens, _WIDTH))
        return y


class Anchors(nn.Module):
    """Every token projected to keys and values, and those that a branch reads joined in a copy."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.proj = (nn.Linear(_WIDTH, _WIDTH) for _ in range(4))

    def forward(self, x: Tensor, token_specs: list[Any]) -> Tensor:
        """Map ``(batch, tokens, hidden_dim)`` to the same shape: a branch reads its own anchors."""
        sizes = [spec.size for spec in token_specs]
        queries, keys, values = (
            _split(layer(x)).split(sizes, dim=2) for layer in (self.q, self.k, self.v)
        )
        read = [
            scaled_dot_product_attention(
                torch.cat(queries[at : at + 2], dim=2),
                torch.cat(keys[at : at + 1], dim=2),
                values[at],
            )
            for at in (0, 2)
        ]
        y: Tensor = self.proj(_merged(torch.cat(read, dim=2)))
        return y


FORMS = {
    "slices": lambda config: Slices(config.num_slices),
    "neighbours": lambda config: Neighbours(
        config.max_degree, config.radius, config.relpos_mlp_hidden_dim
    ),
    "anchors": lambda _: Anchors(),
}
"""The straightforward form of a family, from the config of its first variant."""


def _split(x: Tensor) -> Tensor:
    return x.unflatten(-1, (_HEADS, _HEAD_DIM)).transpose(1, 2)


def _merged(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)
