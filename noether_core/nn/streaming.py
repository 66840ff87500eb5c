"""When tokens are computed chunk by chunk, and how many at once, where no gradient is due."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch
from torch.utils.checkpoint import checkpoint

from noether_core.nn.operators import is_recorded, is_transformed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor, nn

T = TypeVar("T")

_BYTES_IN_CACHE = 1 << 20
"""Bytes of a chunk on a CPU: what a step makes, the next one finds in the second level of the
cache.
"""

_BYTES_TO_BE_BUSY = 1 << 26
"""Bytes of a chunk on other devices, which need many tokens at once to be busy."""

_LEAST = 64
"""Tokens below which products of matrices slow down."""

_CHUNKS = 4
"""Chunks up to which all tokens at once are as fast."""

FEWEST_STREAMED = _CHUNKS * _LEAST
"""Tokens that are never cut but where a config demands it, however large they are."""


def choose_chunk_size(
    module: nn.Module,
    x: Tensor,
    *others: Tensor,
    width: int,
    least: int = 1,
    chosen: int | None = None,
) -> int | None:
    """Return how many tokens a forward computes at once, or None for all of them as one tensor.

    A chunk is ``2^floor(log2(bytes / (batch * width * bytes of a number)))`` tokens, with *bytes*
    of 1 MiB on a CPU and 64 MiB elsewhere, and not less than *least* or 64. More tokens than four
    chunks are computed in chunks, which is faster too: a step finds in the cache what the step
    before it made, and no call waits for the pages of memory that large tensors take anew each
    time. Autograd, `torch.func`, forward-mode derivatives and compilers get all tokens as one
    tensor.

    Args:
        module: Its parameters may need gradients.
        x: ``(batch, tokens, ...)``.
        others: Other tensors that may need gradients.
        width: The most numbers that a token becomes on the way.
        least: Least number of tokens at once.
        chosen: Tokens at once that a config demands; more than these are computed in chunks.
    """
    if is_traced():  # no graph depends on the number of tokens
        return None
    fitting = _tokens_that_fit(x, x.shape[0] * width * x.element_size())
    chunk = chosen or max(least, _LEAST, fitting)
    most = chunk if chosen else _CHUNKS * chunk
    if x.shape[1] <= most or _is_differentiated(module, x, *others):
        return None
    return chunk


def _tokens_that_fit(x: Tensor, bytes_of_token: int) -> int:
    """Return the largest power of two of tokens that fit into the bytes of a chunk."""
    available = _BYTES_IN_CACHE if x.device.type == "cpu" else _BYTES_TO_BE_BUSY
    fitting = available // max(1, bytes_of_token)
    return 1 << (fitting.bit_length() - 1) if fitting else 0


def _is_differentiated(module: nn.Module, *tensors: Tensor) -> bool:
    """Return whether anything records the call, or carries derivatives through it."""
    if is_transformed() or is_recorded(*tensors, *module.parameters()):
        return True
    # What hooks add may need gradients, of parameters that are not the module's.
    return torch.is_grad_enabled() and any(map(_has_forward_hooks, module.modules()))


def _has_forward_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)  # noqa: SLF001


def is_traced() -> bool:
    """Return whether a compiler, an exporter or `torch.jit.trace` looks on."""
    # The public function for the last is deprecated.
    return torch.compiler.is_compiling() or torch._C._is_tracing()  # noqa: SLF001


is_exported = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
"""Returns whether ``torch.export`` looks on: other runtimes may compute what its graph says.

Before torch 2.7 also whether a compiler does.
"""


def recomputed(function: Callable[..., T], *given: object) -> T:
    """Return what *function* makes, so that autograd keeps what it is given and no step of it.

    The steps are made again for gradients, with what was drawn in them.
    """
    if not torch.is_grad_enabled():
        return function(*given)
    result: T = checkpoint(function, *given, use_reentrant=False)
    return result


def chunks_of(spans: Iterable[slice], size: int) -> Iterator[slice]:
    """Yield chunks of *size* tokens of *spans*, one behind the other, or what is left of a span."""
    for span in spans:
        for start in range(span.start, span.stop, size):
            yield slice(start, min(start + size, span.stop))
