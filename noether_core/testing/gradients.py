"""A module as a function of its parameters and tokens: gradients, directions and slopes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from noether_core.testing import calls
from noether_core.testing.subject import Subject

_STEP = 1e-6
"""Difference by which slopes are measured."""

Values = Sequence[Tensor]


def trained_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that require a gradient, by name."""
    named = module.named_parameters()
    return {name: parameter for name, parameter in named if parameter.requires_grad}


def gradients_of(module: nn.Module, y: Tensor) -> dict[str, Tensor | None]:
    """Return the gradients of the sum of squares of a result.

    By the names of the parameters that are trained; None for one that gets none.
    """
    trained = trained_parameters(module)
    if not trained:
        return {}
    wide = y if y.dtype == torch.float64 else y.float()
    gradients = torch.autograd.grad(wide.square().sum(), [*trained.values()], allow_unused=True)
    return dict(zip(trained, gradients, strict=True))


def are_finite(y: Tensor, gradients: dict[str, Tensor | None]) -> bool:
    """Return whether a result and its gradients are all finite."""
    tensors = (y, *gradients.values())
    return all(bool(tensor.isfinite().all()) for tensor in tensors if tensor is not None)


class Function:
    """What a module makes of parameters and tokens, noise drawn alike each time.

    Args:
        subject: What is under test.
        module: A module of it; its mode is that of every call.
        arguments: The call, at whose tokens the function starts.
    """

    def __init__(self, subject: Subject, module: nn.Module, arguments: calls.Arguments) -> None:
        signature, parameters = subject.signature, trained_parameters(module)
        self._subject, self._module, self._arguments = subject, module, arguments
        self._parameters = tuple(parameters)
        # Tokens that attend to themselves are one argument.
        self._tokens = tuple(dict.fromkeys((signature.queries, signature.keys)))

        starts = (*parameters.values(), *(arguments[name] for name in self._tokens))
        self.point = [value.detach().clone().requires_grad_() for value in starts]
        """The parameters, and behind them the tokens."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the values are called."""
        return (*self._parameters, *self._tokens)

    def __call__(self, values: Values) -> Tensor:
        """Return the result for other parameters and tokens."""
        count = len(self._parameters)
        parameters = dict(zip(self._parameters, values[:count], strict=True))
        tokens = dict(zip(self._tokens, values[count:], strict=True))
        with self._subject.seeded(0):
            y = functional_call(self._module, parameters, kwargs={**self._arguments, **tokens})
            return self._subject.one_tensor(y)

    def __str__(self) -> str:
        tokens = self._arguments[self._tokens[-1]].shape[1]
        return f"{tokens} tokens in {'training' if self._module.training else 'evaluation'}"

    def directions(self, seed: int) -> list[Tensor]:
        """Return a direction for each of the values, of norm one together."""
        generator = torch.Generator().manual_seed(seed)
        drawn = [torch.randn(value.shape, generator=generator).to(value) for value in self.point]
        return normalized(drawn)

    def moved(self, directions: Values, steps: int) -> list[Tensor]:
        """Return the point after some small steps along directions."""
        return [
            (value.detach() + steps * _STEP * direction).requires_grad_()
            for value, direction in zip(self.point, directions, strict=True)
        ]


def normalized(values: Values) -> list[Tensor]:
    """Return *values* over the norm of all of them."""
    norm = torch.stack([value.norm() for value in values]).norm()
    return [value / norm for value in values]


def slope(before: Tensor, after: Tensor) -> Tensor:
    """Return the slope between two results, one step before a point and one behind it."""
    return (after.detach() - before.detach()) / (2 * _STEP)
