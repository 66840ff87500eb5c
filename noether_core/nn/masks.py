"""Masks that are written out."""

from __future__ import annotations

import torch
from torch import Tensor


def combine_masks(attn_mask: Tensor | None, key_padding_mask: Tensor | None) -> Tensor | None:
    """Return one mask with four axes that hides what either mask hides, or None where there is
    none.

    Args:
        attn_mask: As in `noether_core.nn.attend`; a boolean one stays boolean.
        key_padding_mask: As in `noether_core.nn.attend`.

    Returns:
        A mask that broadcasts to ``(batch, heads, queries, keys)``; with padding alone, ``(batch,
        1, 1, keys)``.
    """
    if attn_mask is not None:
        # The fast kernels take masks with all four axes only.
        attn_mask = attn_mask[(None,) * (4 - attn_mask.dim())]
    if key_padding_mask is None:
        return attn_mask

    real = key_padding_mask[:, None, None, :]
    if attn_mask is None:
        return real
    if attn_mask.dtype == torch.bool:
        return attn_mask & real
    return attn_mask.masked_fill(~real, float("-inf"))
