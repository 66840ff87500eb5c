"""Attention in which a query reads no key behind its own place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from noether_core.nn.kernels import Kernel
    from noether_core.nn.structured_masks import Causal

_FAR = 2.0**15
"""Its square, subtracted from a logit, leaves no weight; itself it can be written in every dtype.
"""


def attend_causally(
    _: Causal,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    real: Tensor | None,
    kernel: Kernel,
    dropout: float,
    scale: float | None,
) -> Tensor:
    """Attend under `Causal`; arguments as `noether_core.nn.attend` takes them.

    Kernels know causal attention by themselves, and take no mask beside it. Padding is hidden by
    one more feature of the heads: a large negative number in keys of padding and zero in others, a
    large positive one in queries.
    """
    if real is None:
        return kernel(queries, keys, values, None, dropout, True, scale=scale)

    scale = 1 / math.sqrt(queries.shape[-1]) if scale is None else scale
    hidden = torch.zeros_like(real, dtype=keys.dtype).masked_fill(~real, -_FAR)
    hidden = hidden[:, None, :, None].expand(-1, keys.shape[1], -1, -1)

    read = kernel(
        functional.pad(queries * scale, (0, 1), value=_FAR),
        torch.cat((keys, hidden), dim=-1),
        functional.pad(values, (0, 1)),
        None,
        dropout,
        True,
        scale=1.0,
    )

    reads = functional.pad(real, (0, queries.shape[2] - keys.shape[2])).cumsum(dim=1) > 0
    return read[..., :-1].masked_fill(~reads[:, None, :, None], 0.0)
