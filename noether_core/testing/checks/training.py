"""Training and evaluation: which parameters learn, dropout, noise, and how weights start."""

from __future__ import annotations

import fnmatch
from typing import get_args

import torch
from torch import Tensor, nn

from noether_core.schemas import InitWeightsMode
from noether_core.testing.comparing import EXACT, largest_error
from noether_core.testing.contract import check
from noether_core.testing.gradients import gradients_of, trained_parameters
from noether_core.testing.subject import Subject

_SOME_DROPOUT = 0.5


@check(needs="gradients")
def check_gradients_reach_parameters(subject: Subject) -> None:
    """Every parameter gets a gradient, but for those that the record declares frozen."""
    module = subject.module().train()
    frozen = _frozen(subject, module)
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and name in frozen:
            problem = "is declared frozen and requires a gradient"
        elif not parameter.requires_grad and name not in frozen:
            problem = "requires no gradient"
        else:
            continue
        raise subject.failure(
            f"{name} {problem}; set requires_grad and the record's frozen_parameters alike"
        )

    reached = _reached(subject, module)
    lost = [name for name, _ in module.named_parameters() if name not in frozen | reached]
    if lost:
        raise subject.failure(
            f"no gradient reaches {', '.join(lost)} in any call; use it, drop it, or declare it "
            "frozen"
        )


def _frozen(subject: Subject, module: nn.Module) -> set[str]:
    """Return the parameters that the record declares frozen, by name."""
    names = [name for name, _ in module.named_parameters()]
    frozen: set[str] = set()
    for pattern in subject.variant.frozen_parameters:
        matched = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        if not matched:
            raise subject.failure(f"frozen_parameters names {pattern!r}, which is no parameter")
        frozen.update(matched)
    return frozen


def _reached(subject: Subject, module: nn.Module) -> set[str]:
    """Return the parameters that some call gives a gradient that is not zero."""
    reached: set[str] = set()
    for arguments in subject.each_call(module):
        for name, gradient in gradients_of(module, subject.call(module, arguments)).items():
            if gradient is not None and not gradient.isfinite().all():
                raise subject.failure(f"the gradient of {name} is not finite")
            if gradient is not None and gradient.any():
                reached.add(name)
    return reached


@check()
def check_no_dropout_in_evaluation(subject: Subject) -> None:
    """In evaluation mode `dropout` means nothing."""
    if not subject.is_sound(dropout=_SOME_DROPOUT):
        return
    module, dropping = subject.module(), subject.module(dropout=_SOME_DROPOUT)
    arguments, state = subject.arguments(), module.state_dict()
    for loading in (module, dropping):
        loading.load_state_dict(state)
    if largest_error(subject.call(dropping, arguments), subject.call(module, arguments)) > EXACT:
        raise subject.failure("dropout acts in evaluation; let it depend on self.training")


@check("deterministic")
def check_deterministic(subject: Subject) -> None:
    """In evaluation mode the same input gives equal numbers to the last bit, whatever the seed."""
    module = _module_with_dropout(subject)
    for arguments in subject.each_call(module):
        first, second = (subject.call(module, arguments, seed=seed) for seed in (0, 1))
        if not torch.equal(first, second):
            raise subject.failure("evaluation gives other numbers each time; drop 'deterministic'")


@check(needs="gradients")
def check_training_is_reproducible(subject: Subject) -> None:
    """The same seed gives equal weights, results and gradients, dropout and noise included."""
    # Sums on other devices have no order.
    tolerance = 0.0 if torch.device(subject.device).type == "cpu" else EXACT
    for one, other in zip(_two_steps(subject), _two_steps(subject), strict=True):
        if not (torch.equal(one, other) or largest_error(one, other) <= tolerance):
            raise subject.failure(
                "training twice from one seed gives different numbers; "
                "draw from torch's generator alone"
            )


def _module_with_dropout(subject: Subject) -> nn.Module:
    """Return a module with dropout, if its config takes any."""
    takes_any = subject.is_sound(dropout=_SOME_DROPOUT)
    return subject.module(dropout=_SOME_DROPOUT) if takes_any else subject.module()


def _two_steps(subject: Subject) -> list[Tensor]:
    """Return the results of two steps of training, and the weights behind them."""
    module = _module_with_dropout(subject).train()
    arguments, results = subject.arguments(), []
    for step in range(2):
        y = subject.call(module, arguments, seed=step)
        gradients = gradients_of(module, y)
        with torch.no_grad():
            for name, parameter in trained_parameters(module).items():
                gradient = gradients[name]
                if gradient is not None:
                    parameter.sub_(0.01 * gradient)
        results.append(y.detach())
    return [*results, *(parameter.detach() for parameter in module.parameters())]


@check()
def check_init_modes(subject: Subject) -> None:
    """Every mode of `init_weights` that the config takes starts as it says, finite results too.

    ``zeros`` leaves no weight of a linear layer, ``truncnormal002-identity`` writes zeros, and the
    others draw weights.
    """
    for mode in get_args(InitWeightsMode):
        if not subject.is_sound(init_weights=mode):
            continue
        module = subject.raw_module(subject.config(init_weights=mode)).double().eval()
        y = subject.call(module, subject.arguments()).detach()
        case = f"with init_weights {mode!r}"
        if not y.isfinite().all():
            raise subject.failure(f"{case} results are not finite")
        if mode == "truncnormal002-identity" and y.any():
            raise subject.failure(f"{case} a module writes {float(y.abs().max()):.1e}, not zeros")

        weights = [layer.weight for layer in module.modules() if isinstance(layer, nn.Linear)]
        is_any_drawn = any(bool(weight.any()) for weight in weights)
        if mode == "zeros" and is_any_drawn:
            raise subject.failure(f"{case} the weights of linear layers are not all zero")
        if mode != "zeros" and weights and not is_any_drawn:
            raise subject.failure(f"{case} the weights of linear layers are all zero")
