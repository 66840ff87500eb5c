"""Memory for the steps of a tile, which the next tile writes over, so that it stays in the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


class Scratch:
    """Tensors without content by the name of a step; who asks again for the same step loses what
    stood there.
    """

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._made: dict[tuple[str, torch.Size], Tensor] = {}

    def empty(self, step: str, shape: torch.Size) -> Tensor:
        """Return the tensor of a step; tiles of two shapes have one each."""
        made = self._made.get((step, shape))
        if made is None:
            made = self._made[step, shape] = self._like.new_empty(shape)
        return made

    def product(self, step: str, left: Tensor, right: Tensor) -> Tensor:
        """Return ``left right``, of matrices or of stacks of them."""
        out = self.empty(step, torch.Size((*left.shape[:-1], right.shape[-1])))
        return (
            torch.mm(left, right, out=out) if left.dim() == 2 else torch.bmm(left, right, out=out)
        )
