"""How much each token that goes into a call acts on each result: norms of derivatives, exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

_AT_ONCE = 256
"""Most copies of the tokens in one call: each row of the derivatives takes one."""

_COPIES_CHECKED = 2


def block_norms(
    function: Callable[[Mapping[str, Tensor]], Tensor], sources: Mapping[str, Tensor]
) -> Tensor:
    """Return the Frobenius norms of the blocks ``d result[i] / d source[j]``.

    No derivative is estimated, and none needs an operator that torch can batch: copies of the
    sample are the samples of one call, and a backward pass gives as many rows of the Jacobian as
    there are copies. Where samples turn out to act on each other, a call has one.

    Args:
        function: Takes the sources for any number of samples, by name, and returns
            ``(batch, queries, features)``.
        sources: One sample of each tensor to derive by, ``(1, tokens, features)``.

    Returns:
        ``(queries, tokens of all sources)`` in the sources' dtype: the sources' columns stand
        beside each other in their order. A source that the result does not depend on has zeros.
    """
    with torch.no_grad():
        (rows, width) = function(sources).shape[1:]
    count = rows * width
    at_once = _AT_ONCE if count and _are_independent(function, sources) else 1

    squares = []
    for start in range(0, count, at_once):
        chosen = torch.arange(start, min(start + at_once, count))
        squares.append(_squared_rows(function, sources, chosen))
    columns = sum(source.shape[1] for source in sources.values())
    whole = torch.cat(squares) if squares else next(iter(sources.values())).new_zeros(0, columns)
    return whole.view(rows, width, columns).sum(dim=1).sqrt()


def _squared_rows(
    function: Callable[[Mapping[str, Tensor]], Tensor],
    sources: Mapping[str, Tensor],
    chosen: Tensor,
) -> Tensor:
    """Return squares of rows of the Jacobian, summed over the features of each token.

    Args:
        function: As in `block_norms`.
        sources: Likewise.
        chosen: Which numbers of one result to derive, as places in it when it is flattened.

    Returns:
        ``(rows, tokens of all sources)``.
    """
    copies = _copies(sources, len(chosen))
    results = function(copies)
    picked = torch.zeros_like(results)
    picked.flatten(1)[torch.arange(len(chosen)), chosen] = 1

    gradients = _gradients(results, copies, picked)
    return torch.cat([gradient.square().sum(dim=-1) for gradient in gradients], dim=1)


def _are_independent(
    function: Callable[[Mapping[str, Tensor]], Tensor], sources: Mapping[str, Tensor]
) -> bool:
    """Return whether a result does not depend on the other samples of the batch."""
    copies = _copies(sources, _COPIES_CHECKED)
    results = function(copies)
    of_first = torch.zeros_like(results)
    of_first[0] = 1
    return not any(gradient[1:].any() for gradient in _gradients(results, copies, of_first))


def _copies(sources: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    return {
        name: source.detach().repeat(number, *[1] * (source.dim() - 1)).requires_grad_()
        for name, source in sources.items()
    }


def _gradients(results: Tensor, copies: Mapping[str, Tensor], of: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of *results*, weighted by *of*, by each of *copies*."""
    if not results.requires_grad:  # nothing of it depends on any source
        return tuple(torch.zeros_like(copy) for copy in copies.values())
    return torch.autograd.grad(
        results, list(copies.values()), of, allow_unused=True, materialize_grads=True
    )
