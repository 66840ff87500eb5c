"""Training and evaluation: gradients, dropout, noise, and how weights start."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor, nn

from noether_core.schemas import InitWeightsMode
from noether_core.testing import calls
from noether_core.testing.comparing import EXACT, largest_error
from noether_core.testing.failures import CheckFailed
from noether_core.testing.gradients import gradients_of, trained_parameters
from noether_core.testing.promises import promise
from noether_core.testing.subject import Subject

_SMALL_STEP = 1e-6
"""Difference by which a gradient is measured."""

_SLOPE = 1e-4
"""Largest relative error of a gradient that is measured so."""

_SOME_DROPOUT = 0.5


def check_gradients_reach_parameters(subject: Subject) -> None:
    """Every parameter gets a gradient, but for those that the record declares frozen, which get
    none.
    """
    module = subject.module().train()
    patterns = subject.variant.frozen_parameters
    frozen = {
        name
        for name, _ in module.named_parameters()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }
    for name, parameter in module.named_parameters():
        if parameter.requires_grad is (name in frozen):
            told = (
                "is declared frozen and asks for a gradient"
                if name in frozen
                else "asks for no gradient"
            )
            raise CheckFailed(
                f"{subject.type}: {name} {told}; set requires_grad and the record's frozen_parameters alike"
            )
    unmatched = [pattern for pattern in patterns if not fnmatch.filter(frozen, pattern)]
    if unmatched:
        raise CheckFailed(
            f"{subject.type}: frozen_parameters names {unmatched[0]!r}, which is no parameter"
        )
    reached = _reached(subject, module)
    if lost := [name for name, _ in module.named_parameters() if name not in frozen | reached]:
        raise CheckFailed(
            f"{subject.type}: no gradient reaches {', '.join(lost)} in any call; use it, drop it, or declare it frozen"
        )


def _reached(subject: Subject, module: nn.Module) -> set[str]:
    """Return the parameters that some call gives a gradient that is not zero."""
    reached: set[str] = set()
    for arguments in subject.each_call(module):
        for name, gradient in gradients_of(module, subject.call(module, arguments)).items():
            if gradient is not None and not gradient.isfinite().all():
                raise CheckFailed(f"{subject.type}: the gradient of {name} is not finite")
            if gradient is not None and gradient.any():
                reached.add(name)
    return reached


def check_gradients_are_right(subject: Subject) -> str:
    """Gradients are the slopes that small differences measure, of every parameter and of the
    tokens.
    """
    module, arguments = subject.module(), subject.arguments()
    tokens = {calls.ASKING[subject.variant.interface], calls.READ[subject.variant.interface]}
    inputs = {name: arguments[name].clone().requires_grad_() for name in sorted(tokens)}
    varied: dict[str, Tensor] = {**trained_parameters(module), **inputs}

    def result() -> Tensor:
        with subject.seeded(0):
            y: Tensor = module(**{**arguments, **inputs})
        return y.sin().sum()

    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
        result(), [*varied.values()], allow_unused=True
    )
    whole = sum(float(gradient.norm()) for gradient in gradients if gradient is not None)
    worst = 0.0
    for (name, tensor), gradient in zip(varied.items(), gradients, strict=True):
        if gradient is None:
            continue
        direction = gradient / gradient.norm().clamp_min(torch.finfo(gradient.dtype).tiny)
        error = abs(_slope(result, tensor, direction) - float((gradient * direction).sum()))
        error /= max(float(gradient.norm()), 1e-3 * whole)
        worst = max(worst, error)
        if not error <= _SLOPE:
            raise CheckFailed(
                f"{subject.type}: the gradient of {name} is off by {error:.1e} of itself"
            )
    return f"off by {worst:.1e}"


def _slope(result: Callable[[], Tensor], tensor: Tensor, direction: Tensor) -> float:
    """Return how much the result changes along a direction."""
    values: list[float] = []
    with torch.no_grad():
        for step in (_SMALL_STEP, -2 * _SMALL_STEP):
            tensor.add_(step * direction)
            values.append(float(result()))
        tensor.add_(_SMALL_STEP * direction)
    return (values[0] - values[1]) / (2 * _SMALL_STEP)


def check_no_dropout_in_evaluation(subject: Subject) -> None:
    """In evaluation mode `dropout` means nothing."""
    if not subject.is_sound(dropout=_SOME_DROPOUT):
        return
    module, dropping, arguments = (
        subject.module(),
        subject.module(dropout=_SOME_DROPOUT),
        subject.arguments(),
    )
    state = module.state_dict()
    for loading in (module, dropping):
        loading.load_state_dict(state)
    if largest_error(subject.call(dropping, arguments), subject.call(module, arguments)) > EXACT:
        raise CheckFailed(f"{subject.type}: dropout acts in evaluation; ask self.training")


@promise("deterministic")
def check_deterministic(subject: Subject) -> None:
    """In evaluation mode the same input gives equal numbers, to the last bit and whatever the seed
    is.
    """
    module = _dropping(subject)
    for arguments in subject.each_call(module):
        if not torch.equal(
            subject.call(module, arguments, seed=0), subject.call(module, arguments, seed=1)
        ):
            raise CheckFailed(
                f"{subject.type}: evaluation gives other numbers each time; drop 'deterministic'"
            )


def check_training_is_reproducible(subject: Subject) -> None:
    """The same seed gives the same training: equal weights, results and gradients, dropout and
    noise included.
    """
    first, second = (_two_steps(subject) for _ in range(2))
    tolerance = (
        0.0 if torch.device(subject.device).type == "cpu" else EXACT
    )  # sums on other devices have no order
    for one, other in zip(first, second, strict=True):
        if not (torch.equal(one, other) or largest_error(one, other) <= tolerance):
            raise CheckFailed(
                f"{subject.type}: training twice from one seed gives different numbers; "
                "draw from torch's generator alone"
            )


def _dropping(subject: Subject) -> nn.Module:
    """Return a module with dropout, if its config takes any."""
    takes_any = subject.is_sound(dropout=_SOME_DROPOUT)
    return subject.module(dropout=_SOME_DROPOUT) if takes_any else subject.module()


def _two_steps(subject: Subject) -> list[Tensor]:
    """Return the results of two steps of training, and the weights behind them."""
    module = _dropping(subject).train()
    arguments, results = subject.arguments(), []
    for step in range(2):
        y = subject.call(module, arguments, seed=step)
        gradients = gradients_of(module, y)
        with torch.no_grad():
            for name, parameter in trained_parameters(module).items():
                if (gradient := gradients[name]) is not None:
                    parameter.sub_(0.01 * gradient)
        results.append(y.detach())
    return [*results, *(parameter.detach() for parameter in module.parameters())]


def check_init_modes(subject: Subject) -> None:
    """Every mode of `init_weights` that the config takes starts as it says, and with finite
    results.

    ``zeros`` leaves no weight of a linear layer, ``truncnormal002-identity`` writes zeros, and the
    others draw weights.
    """
    for mode in get_args(InitWeightsMode):
        if not subject.is_sound(init_weights=mode):
            continue
        module = subject.raw_module(subject.config(init_weights=mode)).double().eval()
        y = subject.call(module, subject.arguments())
        weights = [layer.weight for layer in module.modules() if isinstance(layer, nn.Linear)]
        told = f"{subject.type}: with init_weights {mode!r}"
        if not y.isfinite().all():
            raise CheckFailed(f"{told} results are not finite")
        if mode == "truncnormal002-identity" and y.any():
            raise CheckFailed(
                f"{told} a module writes {float(y.detach().abs().max()):.1e}, wanted zeros"
            )
        if weights and any(bool(weight.any()) for weight in weights) is (mode == "zeros"):
            raise CheckFailed(
                f"{told} the weights of linear layers are {'not all' if mode == 'zeros' else 'all'} zero"
            )
