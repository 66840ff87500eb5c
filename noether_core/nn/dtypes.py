"""The dtypes in which things are computed."""

from __future__ import annotations

import torch
from torch import Tensor


def dtype_of_results(x: Tensor) -> torch.dtype:
    """Return the dtype in which products of *x* are: its own, or that of autocast."""
    device = x.device.type
    if x.dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return x.dtype
    return torch.get_autocast_dtype(device)


def dtype_of_sums(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which long sums of numbers of *dtype* are taken: float64 for float64,
    else float32.
    """
    return torch.float64 if dtype == torch.float64 else torch.float32
