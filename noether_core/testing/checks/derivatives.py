"""Derivatives beyond gradients: in forward mode, and of gradients; they are right or refused, and
never left out.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor
from torch.autograd import forward_ad

from noether_core.errors import DerivativeError
from noether_core.testing.comparing import relative_error
from noether_core.testing.failures import CheckFailed
from noether_core.testing.functions import Function, Values, normed, slope
from noether_core.testing.subject import Subject

_SLOPE = 1e-4
"""Largest relative error of a derivative that is measured by small differences."""

_MANY = 300
"""Steps from the smallest call to one of some two thousand tokens, which a variant may take another
way.
"""

_LINE = 80
"""Characters of a message that a report shows."""

_REFUSALS = (RuntimeError, DerivativeError)
"""How torch and variants say that there is no such derivative."""


def check_forward_mode(subject: Subject) -> str:
    """Derivatives in forward mode are the slopes that small differences measure, or an error; none
    is left out.

    In training and in evaluation, with few tokens and with many, whether autograd records or not.
    """
    return _told(
        _forward_mode(subject, function, is_recorded=is_recorded)
        for function in _functions(subject)
        for is_recorded in (True, False)
    )


def _forward_mode(subject: Subject, function: Function, *, is_recorded: bool) -> str:
    """Return what refuses the derivative; nothing where it is right."""
    directions = function.directions(seed=0)
    with torch.no_grad():
        before, after = (function(function.moved(directions, steps)) for steps in (-1, 1))
    try:
        with torch.set_grad_enabled(is_recorded):
            tangent = _tangent(function, directions)
    except _REFUSALS as error:
        return _first_line(error)
    what = (
        "derivatives in forward mode"
        if is_recorded
        else "derivatives in forward mode under torch.no_grad()"
    )
    _check_slope(subject, function, tangent, slope(before, after), what)
    return ""


def _tangent(function: Function, directions: Values) -> Tensor | None:
    with forward_ad.dual_level(), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # torch makes some of its formulas by what it deprecates
        pairs = zip(function.point, directions, strict=True)
        result = function([forward_ad.make_dual(*pair) for pair in pairs])  # type: ignore[no-untyped-call]  # torch's own
        tangent: Tensor | None = forward_ad.unpack_dual(result).tangent  # type: ignore[no-untyped-call]  # likewise
        return tangent


def check_second_derivatives(subject: Subject) -> str:
    """Derivatives of gradients are the slopes that small differences measure, or an error; none is
    left out.

    In training and in evaluation, with few tokens and with many, whether what comes into the
    backward pass depends on the result or not.
    """
    return _told(
        _second(subject, function, loss)
        for function in _functions(subject)
        for loss in (_bent, _straight)
    )


def _second(subject: Subject, function: Function, loss: Callable[[Tensor], Tensor]) -> str:
    """Return what refuses the derivative; nothing where it is right."""
    directions = function.directions(seed=0)

    def along(point: Values, *, create_graph: bool = False) -> Tensor:
        """Return the slope of the loss along the directions, as gradients tell it."""
        gradients = torch.autograd.grad(
            loss(function(point)), point, create_graph=create_graph, allow_unused=True
        )
        pairs = zip(gradients, directions, strict=True)
        return torch.stack(
            [(gradient * one).sum() for gradient, one in pairs if gradient is not None]
        ).sum()

    try:
        first = along(function.point, create_graph=True)
        seconds = (
            torch.autograd.grad(first, function.point, allow_unused=True)
            if first.requires_grad
            else ()
        )
    except _REFUSALS as error:
        return _first_line(error)
    if any(second is not None and bool(second.any()) for second in seconds):
        toward = normed(
            [
                one.new_zeros(one.shape) if two is None else two
                for one, two in zip(directions, seconds, strict=True)
            ]
        )
        found = torch.stack(
            [(two * one).sum() for two, one in zip(seconds, toward, strict=True) if two is not None]
        )
    else:
        toward, found = function.directions(seed=1), first.new_zeros(1)
    before, after = (along(function.moved(toward, steps)) for steps in (-1, 1))
    _check_slope(subject, function, found.sum(), slope(before, after), "derivatives of gradients")
    return ""


def _bent(y: Tensor) -> Tensor:
    return y.sin().sum()


def _straight(y: Tensor) -> Tensor:
    """Return a sum whose gradient does not depend on *y*."""
    return (
        y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=y.device).view(y.shape)
    ).sum()


def _functions(subject: Subject) -> Iterator[Function]:
    """Yield what is differentiated; many tokens only where their time does not grow with the
    square.
    """
    exponent = subject.variant.time_exponent
    sizes = (0, _MANY) if exponent is not None and exponent <= 1 else (0,)
    for steps in sizes:
        arguments = subject.larger_call(steps)
        for is_training in (True, False):
            yield Function(subject, subject.module().train(is_training), arguments)


def _check_slope(
    subject: Subject, function: Function, found: Tensor | None, measured: Tensor, what: str
) -> None:
    error = 1.0 if found is None else relative_error(found, measured)
    if not error <= _SLOPE:
        told = (
            "are left out"
            if found is None or not found.any()
            else f"are off by {error:.1e} of themselves"
        )
        raise CheckFailed(
            f"{subject.type}: {what} {told} with {function}; return them, or raise a DerivativeError"
        )


def _told(refusals: Iterable[str]) -> str:
    """Return what a report says of derivatives that are right or refused."""
    told = [refusal and f"refused by {refusal}" for refusal in dict.fromkeys(refusals)]
    return "; ".join(refusal or "right" for refusal in told)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {textwrap.shorten(str(error).partition(chr(10))[0], _LINE)}"
