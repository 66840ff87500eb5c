"""Which form of attention through slices is computed, from the sizes: how many tokens at once, and with what folded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from noether_core.nn.derivatives import is_transformed
from noether_core.nn.streaming import tokens_that_fit

if TYPE_CHECKING:
    from torch import Tensor

    from noether_core.schemas import Backend

_BYTES_IN_CACHE = 1 << 21
"""Bytes of the slice weights of a chunk on a CPU: as much as its caches hold beside the rest."""

_LEAST_CHUNK = 256
"""Tokens below which products of matrices slow down."""

_MOST_IN_CACHE = 1024
"""Tokens above which the rest of a chunk outgrows the caches of a CPU."""

_CHUNKS_HELD = 2
"""Chunks of tokens up to which all weights are held: they fit, and need not be made again for gradients."""

MOST_BYTES_HELD = 1 << 28
"""Bytes of all slice weights up to which they are held where it is dear to make them again."""


def chunk_of(x: Tensor, num_heads: int, num_slices: int) -> int:
    """Return how many tokens are computed at once: ``2^floor(log2(bytes / (4 num_heads num_slices)))``, at least 256.

    *bytes* are 2 MiB on a CPU, for whose caches the weights of a chunk have to be small, and 64 MiB elsewhere. On a CPU
    they are 1,024 at most.
    """
    fitting = tokens_that_fit(x, 4 * num_heads * num_slices, in_cache=_BYTES_IN_CACHE)
    chunk = max(_LEAST_CHUNK, fitting)
    return min(chunk, _MOST_IN_CACHE) if x.device.type == "cpu" else chunk


def folding_pays(hidden_dim: int, num_heads: int, num_slices: int) -> bool:
    """Return whether it takes fewer operations to multiply projections of tokens with those of slices beforehand.

    A token takes ``3 D^2 + 4 D G`` multiplications where it is projected to states, features and output, and where
    logits (twice), sums and output go through the slices of each head; with products of weights it takes
    ``4 D H G``. So folding pays where ``4 G (H - 1) < 3 D``: for few slices, and always for one head.
    """
    return 4 * num_slices * (num_heads - 1) < 3 * hidden_dim


def is_streamed(
    x: Tensor, *, num_heads: int, num_slices: int, chunk: int, backend: Backend, most_bytes_held: int = 0
) -> bool:
    """Return whether weights of slices are made chunk by chunk, and not held.

    They are held by the backends that say so, for few tokens, where *most_bytes_held* suffices, and under `torch.func`
    and forward-mode derivatives, which do not see into operators. Compilers get one form for all numbers of tokens.

    Args:
        x: ``(batch, tokens, hidden_dim)``.
        num_heads: Number of heads.
        num_slices: Number of slices.
        chunk: Tokens at once.
        backend: Option of the config.
        most_bytes_held: Bytes up to which the weights of all tokens are held.
    """
    if backend != "auto":
        return False
    if torch.compiler.is_compiling():
        return True
    batch, tokens, _ = x.shape
    if batch * tokens <= _CHUNKS_HELD * chunk:
        return False
    if batch * tokens * num_heads * num_slices * x.element_size() <= most_bytes_held:
        return False
    return not is_transformed()


def backend_among(backend: Backend) -> Backend:
    """Return what computes attention among slices where weights are held: fused kernels have no forward derivatives."""
    return "math" if backend == "auto" and not torch.compiler.is_compiling() and is_transformed() else backend
