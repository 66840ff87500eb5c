"""Random points of a task's layout, as many as are wanted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from noether_core.tasks import Layout
from noether_plugins.workbench.model import n_features


def proportional(sizes: Mapping[str, int], tokens: int) -> dict[str, int]:
    """Return *tokens* points in groups that have the proportions of *sizes*.

    A group with any points keeps one at least, so that there may be some more in all.
    """
    total = sum(sizes.values())
    ends = np.round(np.cumsum([*sizes.values()]) * (tokens / total)).astype(int)
    counts = np.diff(ends, prepend=0)
    return {
        group: max(int(count), min(1, sizes[group]))
        for group, count in zip(sizes, counts, strict=True)
    }


def random_features(
    layout: Layout,
    sizes: Mapping[str, int],
    dtype: torch.dtype,
    *,
    seed: int,
    device: torch.device | None = None,
) -> dict[str, Tensor]:
    """Return random points as the model has them, one sample: ``(1, points, features)`` by group.

    Positions fill the box that those of a task fill; all else has mean 0 and spread 1. More points
    lie closer together, as those of a finer mesh of the same body do.
    """
    random = torch.Generator().manual_seed(seed)
    features: dict[str, Tensor] = {}
    for group, size in sizes.items():
        positions = 2 * torch.rand(1, size, layout.coordinates, generator=random) - 1
        others = torch.randn(1, size, n_features(layout, group), generator=random)
        others[..., : layout.coordinates] = positions
        features[group] = others.to(device, dtype)
    return features
