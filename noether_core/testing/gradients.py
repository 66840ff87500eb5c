"""Gradients of parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def trained_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that ask for a gradient, by name."""
    return {
        name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad
    }


def gradients_of(module: nn.Module, y: Tensor) -> dict[str, Tensor | None]:
    """Return the gradient that each trained parameter gets from the squares of a result; None where
    it gets none.
    """
    trained = trained_parameters(module)
    if not trained:
        return {}
    gradients = torch.autograd.grad(_wide(y).square().sum(), [*trained.values()], allow_unused=True)
    return dict(zip(trained, gradients, strict=True))


def are_finite(y: Tensor, gradients: dict[str, Tensor | None]) -> bool:
    """Return whether a result and its gradients are all finite."""
    return all(
        bool(tensor.isfinite().all()) for tensor in (y, *gradients.values()) if tensor is not None
    )


def _wide(y: Tensor) -> Tensor:
    return y if y.dtype == torch.float64 else y.float()
