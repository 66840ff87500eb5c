"""The norm of queries and keys."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_EPS = torch.finfo(torch.float32).eps


class RMSNorm(nn.RMSNorm):
    """Divide the last axis by its root mean square, and scale its entries by a learned weight.

    ``y = weight * x / sqrt(mean(x^2) + eps)`` with one epsilon for every dtype, where torch takes
    that of the input, and the result in the dtype of the input, also where autocast meets weights
    of float32.

    Zhang and Sennrich, Root Mean Square Layer Normalization, 2019 (arXiv 1910.07467), equation 4.

    Args:
        width: Length of the last axis; for queries and keys the width of a head.
        eps: Added under the root; by default the machine epsilon of float32.
    """

    weight: nn.Parameter
    eps: float

    def __init__(self, width: int, *, eps: float = _EPS) -> None:
        super().__init__(width, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise *x*, ``(..., width)``."""
        return functional.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), self.eps)
