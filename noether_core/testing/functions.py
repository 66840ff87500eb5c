"""A module as a function of its tokens and parameters alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from noether_core.testing import calls
from noether_core.testing.gradients import trained_parameters
from noether_core.testing.subject import Subject

_STEP = 1e-6
"""Difference by which slopes are measured."""

Values = Sequence[Tensor]


class Function:
    """What a module makes of tokens and of the parameters that are trained, noise drawn alike each
    time.

    Args:
        subject: What is under test.
        module: A module of it; its mode is that of every call.
        arguments: The call, at whose tokens the function starts.
    """

    def __init__(self, subject: Subject, module: nn.Module, arguments: calls.Arguments) -> None:
        interface = subject.variant.interface
        self._subject, self._module, self._arguments = subject, module, arguments
        self._parameters = tuple(trained_parameters(module))
        self._tokens = tuple(dict.fromkeys((calls.ASKING[interface], calls.READ[interface])))
        starts = (*trained_parameters(module).values(), *(arguments[name] for name in self._tokens))
        self.point = [value.detach().clone().requires_grad_() for value in starts]
        """The parameters, and behind them the tokens."""

    def __call__(self, values: Values) -> Tensor:
        """Return the result for other parameters and tokens."""
        count = len(self._parameters)
        parameters = dict(zip(self._parameters, values[:count], strict=True))
        tokens = dict(zip(self._tokens, values[count:], strict=True))
        with self._subject.seeded(0):
            return self._subject.one_tensor(
                functional_call(self._module, parameters, kwargs={**self._arguments, **tokens})
            )

    def __str__(self) -> str:
        tokens = self._arguments[self._tokens[-1]].shape[1]
        return f"{tokens} tokens in {'training' if self._module.training else 'evaluation'}"

    def directions(self, seed: int) -> list[Tensor]:
        """Return a direction for each of the values, of norm one together."""
        generator = torch.Generator().manual_seed(seed)
        return normed(
            [torch.randn(value.shape, generator=generator).to(value) for value in self.point]
        )

    def moved(self, directions: Values, steps: int) -> list[Tensor]:
        """Return the point after some small steps along directions."""
        return [
            (value.detach() + steps * _STEP * direction).requires_grad_()
            for value, direction in zip(self.point, directions, strict=True)
        ]


def normed(values: Values) -> list[Tensor]:
    """Return *values* over the norm of all of them."""
    norm = torch.stack([value.norm() for value in values]).norm()
    return [value / norm for value in values]


def slope(before: Tensor, after: Tensor) -> Tensor:
    """Return the slope that two results tell, one step before a point and one behind it."""
    return (after.detach() - before.detach()) / (2 * _STEP)
