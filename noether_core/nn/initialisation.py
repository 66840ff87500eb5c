"""How the weights of linear layers start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from noether_core.schemas import InitWeightsMode


def init_weights_(module: nn.Module, mode: InitWeightsMode, *, output: nn.Linear) -> None:
    """Fill the weights of every linear layer in *module*, in place, and set its bias to zero.

    - ``truncnormal002``, ``truncnormal``: normal around 0 with deviation 0.02, cut at -2 and 2.
    - ``truncnormal002-identity``: the same, and *output* zero, so that a residual block starts as
      the identity.
    - ``xavier``: Xavier uniform.
    - ``zeros``: zero.
    - ``torch``: weights and biases stay as torch made them.

    Args:
        module: The module; parameters outside its linear layers are left alone.
        mode: How weights start.
        output: The layer of *module* that writes its result.
    """
    if mode == "torch" or output.weight.is_meta:  # on the meta device there is nothing to fill
        return
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            _FILLS[mode](layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    if mode == "truncnormal002-identity":
        nn.init.zeros_(output.weight)


def _truncated_normal(weight: Tensor) -> None:
    nn.init.trunc_normal_(weight, std=0.02, a=-2.0, b=2.0)


_FILLS: Mapping[InitWeightsMode, Callable[[Tensor], object]] = {
    "truncnormal002": _truncated_normal,
    "truncnormal": _truncated_normal,
    "truncnormal002-identity": _truncated_normal,
    "xavier": nn.init.xavier_uniform_,
    "zeros": nn.init.zeros_,
}
