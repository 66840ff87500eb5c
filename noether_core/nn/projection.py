"""A linear layer under the name that slice attention stores it by."""

from __future__ import annotations

from torch import Tensor, nn


class Projection(nn.Module):
    """A linear layer as the child ``project``, so that ``q`` is stored as ``q.project.weight``.

    Args:
        in_features: Width of what goes in.
        out_features: Width of what comes out.
        bias: Whether a bias is added.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool) -> None:
        super().__init__()
        self.project = nn.Linear(in_features, out_features, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Project *x*, ``(..., in_features)``, to ``(..., out_features)``."""
        projected: Tensor = self.project(x)
        return projected
