"""How the weights of linear layers start."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from noether_core.schemas import InitWeightsMode


def init_weights_(module: nn.Module, mode: InitWeightsMode, *, output: nn.Module) -> None:
    """Fill the weights of every linear layer in *module*, in place, and set its bias to zero.

    So does the ``reset_parameters`` of each layer from then on, such as behind the meta device.

    - ``truncnormal002``, ``truncnormal``: normal around 0 with deviation 0.02, cut at -2 and 2.
    - ``truncnormal002-identity``: the same, and *output* zero, so that a residual block starts as
      the identity.
    - ``xavier``: Xavier uniform.
    - ``zeros``: zero.
    - ``torch``: weights and biases stay as torch made them.

    Args:
        module: The module; parameters outside its linear layers are left alone.
        mode: How weights start.
        output: The layer of *module* that writes its result, or what holds the layers that do.
    """
    if mode == "torch":
        return
    starts_as_identity = mode == "truncnormal002-identity"
    outputs = set(output.modules())
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            is_zero = starts_as_identity and layer in outputs
            start_with_(layer, nn.init.zeros_ if is_zero else _FILLS[mode])


def start_with_(
    layer: nn.Linear, fill: Callable[[Tensor], object], *, zero_bias: bool = True
) -> None:
    """Fill the weight of a layer, set its bias to zero, and let ``reset_parameters`` do the same.

    Args:
        layer: The layer.
        fill: Fills a tensor in place and records no gradient, as those of ``torch.nn.init``; a
            function of a module, so that copies and pickles keep it.
        zero_bias: Whether the bias is zero; else it starts, and starts again, as torch's own.
    """
    start = _Start(layer._parameters, fill, zero_bias=zero_bias)  # noqa: SLF001
    # Not a class of our own: quantisation looks for exactly `nn.Linear`. Set as it is, where a
    # module would look for parameters in it.
    object.__setattr__(layer, "reset_parameters", start)
    if layer.weight.is_meta:
        return
    start.fill_weight()
    if zero_bias:
        start.fill_bias()


class _Start:
    """How a layer starts.

    It holds the parameters of the layer and not the layer, which would be a circle that only the
    garbage collector frees.
    """

    def __init__(
        self,
        parameters: MutableMapping[str, nn.Parameter | None],
        fill: Callable[[Tensor], object],
        *,
        zero_bias: bool,
    ) -> None:
        self.parameters, self.fill, self.zero_bias = parameters, fill, zero_bias

    def __call__(self) -> None:
        self.fill_weight()
        self.fill_bias()

    def fill_weight(self) -> None:
        """Fill the weight; on the meta device there is nothing to fill."""
        weight = self.parameters.get("weight")
        if weight is not None and not weight.is_meta:
            self.fill(weight)

    def fill_bias(self) -> None:
        """Fill the bias, where there is one."""
        weight, bias = self.parameters.get("weight"), self.parameters.get("bias")
        if bias is None or bias.is_meta:
            return
        if self.zero_bias or weight is None:
            nn.init.zeros_(bias)
        else:
            bound = 1 / math.sqrt(max(1, weight.shape[1]))
            nn.init.uniform_(bias, -bound, bound)


def orthogonal_(weight: Tensor) -> None:
    """Make the rows of a weight orthogonal, in place."""
    # There is no QR decomposition of 16-bit numbers.
    wide = torch.empty_like(weight, dtype=torch.float32)
    with torch.no_grad():
        weight.copy_(nn.init.orthogonal_(wide))


def _truncated_normal(weight: Tensor) -> None:
    nn.init.trunc_normal_(weight, std=0.02, a=-2.0, b=2.0)


_FILLS: Mapping[InitWeightsMode, Callable[[Tensor], object]] = {
    "truncnormal002": _truncated_normal,
    "truncnormal": _truncated_normal,
    "truncnormal002-identity": _truncated_normal,
    "xavier": nn.init.xavier_uniform_,
    "zeros": nn.init.zeros_,
}
