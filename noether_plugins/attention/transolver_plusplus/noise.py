"""Gumbel noise, by token, head and slice."""

from __future__ import annotations

import torch
from torch import Tensor

from noether_core.nn import draw_seed, uniform_at


def draw_uniform(logits: Tensor) -> Tensor:
    """Draw the numbers that become noise: uniform in ``[0, 1)``, one for each logit, of the shape
    of *logits*.

    The numbers follow from one draw of torch's generator and from batch, head, token and slice.

    Args:
        logits: ``(batch, heads, tokens, slices)``.

    Returns:
        The same shape, in float64 for float64 and in float32 for everything narrower.
    """
    rows = torch.arange(logits[..., 0].numel(), device=logits.device).view(logits.shape[:-1])
    return uniform_at(
        draw_seed(logits.device), rows, logits.shape[-1], dtype=_working_dtype(logits.dtype)
    )


def _working_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
