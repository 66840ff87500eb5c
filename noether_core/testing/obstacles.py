"""What keeps checks from saying anything about a variant, and which check reports it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, get_args

import attrs
import torch

from noether_core.testing.contract import CheckFailed

if TYPE_CHECKING:
    from torch import Tensor

    from noether_core.testing.subject import Subject

Need = Literal["nothing", "config", "module", "signature", "call", "gradients"]
"""What a check needs of a variant, each with all before it.

A config of the example, a module of that, a `forward` which takes what its interface requires, a
call of it with nothing else, and the gradients of this call.
"""

_ORDER: tuple[str, ...] = get_args(Need)


@attrs.frozen
class Obstacle:
    """What a variant lacks: without it most checks would fail, and all for one reason."""

    lacking: Need
    problem: str
    """What is wrong, in a sentence."""

    @property
    def reason(self) -> str:
        """Why a check that needs what is lacking does not apply, in one line."""
        first = self.problem.partition("\n")[0]
        return f"{first}; the check {_REPORTED_BY[self.lacking]!r} reports it"

    def keeps(self, need: Need) -> bool:
        """Return whether a check with this need cannot say anything."""
        return _ORDER.index(self.lacking) <= _ORDER.index(need)


def first_obstacle(subject: Subject) -> Obstacle | None:
    """Return the first thing that *subject* lacks, if it lacks any."""
    for need, attempt in _ATTEMPTS.items():
        try:
            attempt.make(subject)
        except CheckFailed as failure:
            return Obstacle(need, str(failure).removeprefix(f"{subject.type}: "))
        except Exception as error:  # noqa: BLE001  a variant raises what it likes
            return Obstacle(need, f"{attempt.failed}: {type(error).__name__}: {error}")
    return None


def _declare(subject: Subject) -> None:
    """Look whether `forward` can be called with what its interface requires, and with no less."""
    required = dict.fromkeys(subject.signature.required)
    module = subject.raw_module(subject.config())
    try:
        inspect.signature(type(module).forward).bind(module, **required)
    except TypeError as error:
        wanted = ", ".join(required)
        raise subject.failure(
            f"forward cannot be called with ({wanted}), as the interface "
            f"{subject.variant.interface!r} does: {error}"
        ) from error


def _called(subject: Subject) -> Tensor:
    module, arguments = subject.module(), subject.arguments()
    y, tokens = subject.call(module, arguments), arguments[subject.signature.queries]
    if y.shape != tokens.shape:
        raise subject.failure(
            f"the result of {tokens.dtype} tokens has shape {tuple(y.shape)}, and the tokens have "
            f"{tuple(tokens.shape)}"
        )
    if not y.isfinite().all():
        raise subject.failure("the result of a call with what it requires alone is not finite")
    return y


def _differentiate(subject: Subject) -> None:
    module = subject.module()
    y = subject.call(module, subject.arguments(module))
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if trained:
        torch.autograd.grad(y.square().sum(), trained, allow_unused=True)


@attrs.frozen
class _Attempt:
    make: Callable[[Subject], object]
    failed: str
    """What it means if something is raised."""


_ATTEMPTS: Mapping[Need, _Attempt] = {
    "config": _Attempt(lambda subject: subject.config(), "no config of the example can be made"),
    "module": _Attempt(
        lambda subject: subject.raw_module(subject.config()),
        "no module of the example can be made",
    ),
    "signature": _Attempt(_declare, "what forward declares cannot be read"),
    "call": _Attempt(_called, "a call with what it requires alone fails"),
    "gradients": _Attempt(
        _differentiate, "gradients of a call with what it requires alone cannot be computed"
    ),
}

_REPORTED_BY: Mapping[Need, str] = {
    "config": "construction",
    "module": "construction",
    "signature": "signature",
    "call": "result",
    "gradients": "gradients_are_right",
}
