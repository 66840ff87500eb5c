"""The MLP that makes keys and values from tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from noether_plugins.attention.flare.config import Activation


def _gelu_tanh(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


_ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "GELU": functional.gelu,
    "GELU_TANH": _gelu_tanh,
    "SILU": functional.silu,
}


def residual_mlp(
    width: int, *, ratio: float, num_layers: int, activation: Activation, bias: bool
) -> ResidualLinear | ResidualMLP:
    """Return the layers from tokens to keys or values of the same width.

    Args:
        width: Width of a token.
        ratio: Inner width over *width*.
        num_layers: Inner layers; -1 for one linear layer with a residual.
        activation: Name of the activation.
        bias: Whether layers have a bias.
    """
    if num_layers == -1:
        return ResidualLinear(width, bias=bias)
    inner = max(1, int(width * ratio))
    return ResidualMLP(width, inner, num_layers, _ACTIVATIONS[activation], bias=bias)


class ResidualLinear(nn.Module):
    """``x + fc(x)``."""

    def __init__(self, width: int, *, bias: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width, bias=bias)
        self.inner = width

    @property
    def first(self) -> nn.Module:
        """The layer that tokens meet first."""
        return self.fc

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., width)`` to the same shape."""
        y: Tensor = x + self.fc(x)
        return y


class ResidualMLP(nn.Module):
    """``z = act(fc1 x)``, then ``z = z + act(fcs[i] z)`` for each inner layer, then ``fc2 z``.

    The first and the last step add their input too where the inner width is that of a token.
    """

    def __init__(
        self,
        width: int,
        inner: int,
        num_layers: int,
        activation: Callable[[Tensor], Tensor],
        *,
        bias: bool,
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner, bias=bias)
        self.fcs = nn.ModuleList(nn.Linear(inner, inner, bias=bias) for _ in range(num_layers))
        self.fc2 = nn.Linear(inner, width, bias=bias)
        self.inner = inner
        self.activation = activation
        self.widths_agree = inner == width

    @property
    def first(self) -> nn.Module:
        """The layer that tokens meet first."""
        return self.fc1

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., width)`` to the same shape."""
        z = self.activation(self.fc1(x))
        if self.widths_agree:
            z = z + x

        for layer in self.fcs:
            z = z + self.activation(layer(z))

        y: Tensor = self.fc2(z)
        return y + z if self.widths_agree else y
