"""Which form of attention through slices is computed, from the sizes: how many tokens at once, and
with what folded.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import torch

from noether_core.nn.operators import is_recorded, is_transformed
from noether_core.nn.streaming import tokens_that_fit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from noether_core.schemas import Backend

_BYTES_IN_CACHE = 1 << 23
"""Bytes of the slice weights of a chunk on a CPU."""

_LEAST_CHUNK, _MOST_IN_CACHE = 512, 4096
"""Tokens of a chunk on a CPU: products of matrices slow down below the one, and above the other
nothing is gained.
"""

_CHUNKS = 4
"""Chunks into which few tokens are cut on a CPU, so that they come from the same memory one after
the other.
"""


class SliceAttention(Protocol):
    """A module that attends through slices, and what its config says."""

    num_heads: int
    num_slices: int

    chunk_size: int | None
    """Tokens at once that the config demands; more than these are computed in chunks."""

    @property
    def backend(self) -> Backend:
        """The kernel; all but ``"auto"`` hold the slice weights of all tokens."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters, which may ask for gradients."""
        ...


def choose_tile_size(module: SliceAttention, x: Tensor, *, draws_noise: bool = False) -> int | None:
    """Return how many tokens are computed at once, or None where the slice weights of all tokens
    are held.

    A chunk is ``2^floor(log2(bytes / (4 num_heads num_slices)))`` tokens, with *bytes* of 8 MiB on
    a CPU and 64 MiB elsewhere; on a CPU 512 to 4,096, and a quarter of all tokens where they are
    few. Weights are held where they take no more than those *bytes*, since they need not be made
    again for gradients; where nothing is recorded for gradients, a quarter of that, and twice as
    much where noise would be drawn again. Those of 512 tokens are always held, and so are all under
    `torch.func` and forward-mode derivatives, which do not see into operators. Compilers get one
    form for all numbers of tokens.

    Args:
        module: Whose weights these are.
        x: ``(batch, tokens, hidden_dim)``.
        draws_noise: Whether noise is added to the logits.
    """
    if module.backend != "auto":
        return None
    in_cache = x.device.type == "cpu"
    fitting = tokens_that_fit(x, 4 * module.num_heads * module.num_slices, in_cache=_BYTES_IN_CACHE)
    most = max(_LEAST_CHUNK, min(fitting, _MOST_IN_CACHE) if in_cache else fitting)
    if torch.compiler.is_compiling():
        return module.chunk_size or most
    if is_transformed():
        return None

    total = x.shape[0] * x.shape[1]
    if module.chunk_size:
        return module.chunk_size if total > module.chunk_size else None
    share = 2 if draws_noise else 1 if is_recorded(x, *module.parameters()) else 1 / 4
    if total <= max(_LEAST_CHUNK, share * fitting):
        return None
    return min(most, max(_LEAST_CHUNK, math.ceil(total / _CHUNKS))) if in_cache else most


def folding_pays(hidden_dim: int, num_heads: int, num_slices: int) -> bool:
    """Return whether it takes fewer operations to multiply projections of tokens with those of
    slices beforehand.

    A token takes ``3 D^2 + 4 D G`` multiplications where it is projected to states, features and
    output, and where logits (twice), sums and output go through the slices of each head; with
    products of weights it takes ``4 D H G``. So folding pays where ``4 G (H - 1) < 3 D``: for few
    slices, and always for one head.
    """
    return 4 * num_slices * (num_heads - 1) < 3 * hidden_dim


def backend_among(backend: Backend) -> Backend:
    """Return what computes attention among slices where weights are held: fused kernels have no
    forward derivatives.
    """
    return (
        "math"
        if backend == "auto" and not torch.compiler.is_compiling() and is_transformed()
        else backend
    )
