"""Derivatives of every order and in both modes: right or refused, and none is left out."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from noether_core.errors import DerivativeError
from noether_core.testing.comparing import relative_error
from noether_core.testing.contract import check
from noether_core.testing.gradients import Function, Values, normalized, slope
from noether_core.testing.subject import Subject

_TOLERANCE = 1e-4
"""Largest relative error of a derivative that is measured by small differences."""

_LEAST = 1e-3
"""Part of all gradients together below which errors of one of them are not blown up."""

_MANY = 300
"""Steps to a call of some two thousand tokens, which a variant may compute in another way."""

_LINE = 80
"""Characters of a message that a report shows."""

_REFUSALS = (RuntimeError, DerivativeError)
"""How torch and variants say that there is no such derivative."""


@check()
def check_gradients_are_right(subject: Subject) -> str:
    """Gradients of parameters and tokens are the slopes that small differences measure."""
    subject.check_has("gradients")
    function = Function(subject, subject.module(), subject.arguments())
    point = function.point
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
        _bent(function(point)), point, allow_unused=True
    )
    whole = sum(float(gradient.norm()) for gradient in gradients if gradient is not None)

    worst = 0.0
    for number, (name, gradient) in enumerate(zip(function.names, gradients, strict=True)):
        if gradient is None:
            continue
        norm = float(gradient.norm())
        directions = [torch.zeros_like(value) for value in point]
        directions[number] = gradient / gradient.norm().clamp_min(torch.finfo(gradient.dtype).tiny)
        with torch.no_grad():
            before, after = (_bent(function(function.moved(directions, step))) for step in (-1, 1))

        # Along itself a gradient changes the result by its norm.
        error = abs(float(slope(before, after)) - norm) / max(norm, _LEAST * whole)
        worst = max(worst, error)
        if not error <= _TOLERANCE:
            raise subject.failure(f"the gradient of {name} is off by {error:.1e} of itself")
    return f"off by {worst:.1e}"


@check(needs="gradients")
def check_second_derivatives(subject: Subject) -> str:
    """Derivatives of gradients are the slopes that small differences measure, or an error.

    In training and in evaluation, with few tokens and with many, whether what comes into the
    backward pass depends on the result or not.
    """
    return _summary(
        _second_derivatives(subject, function, loss)
        for function in _functions(subject)
        for loss in (_bent, _linear)
    )


def _second_derivatives(
    subject: Subject, function: Function, loss: Callable[[Tensor], Tensor]
) -> str:
    """Return what refuses the derivative; nothing where it is right."""
    directions = function.directions(seed=0)

    def along(point: Values, *, create_graph: bool = False) -> Tensor:
        """Return the slope of the loss along the directions, by its gradients."""
        gradients = torch.autograd.grad(
            loss(function(point)), point, create_graph=create_graph, allow_unused=True
        )
        return _product(gradients, directions)

    seconds: Sequence[Tensor | None] = ()
    try:
        first = along(function.point, create_graph=True)
        if first.requires_grad:
            seconds = torch.autograd.grad(first, function.point, allow_unused=True)
    except _REFUSALS as error:
        return _first_line(error)

    if any(second is not None and bool(second.any()) for second in seconds):
        # Along the derivative itself an error of any of its parts shows.
        toward = normalized(
            [
                torch.zeros_like(value) if second is None else second
                for value, second in zip(function.point, seconds, strict=True)
            ]
        )
        found = _product(seconds, toward)
    else:
        toward, found = function.directions(seed=1), first.new_zeros(())
    before, after = (along(function.moved(toward, step)) for step in (-1, 1))
    _check_slope(subject, function, found, slope(before, after), "derivatives of gradients")
    return ""


def _product(gradients: Sequence[Tensor | None], directions: Values) -> Tensor:
    """Return the slope along directions; a gradient that is None is zero."""
    pairs = zip(gradients, directions, strict=True)
    products = [(gradient * one).sum() for gradient, one in pairs if gradient is not None]
    return torch.stack(products).sum()


@check()
def check_forward_mode(subject: Subject) -> str:
    """Derivatives in forward mode are the slopes that small differences measure, or an error.

    In training and in evaluation, with few tokens and with many, whether autograd records or not.
    """
    return _summary(
        _forward_mode(subject, function, is_recorded=is_recorded)
        for function in _functions(subject)
        for is_recorded in (True, False)
    )


def _forward_mode(subject: Subject, function: Function, *, is_recorded: bool) -> str:
    """Return what refuses the derivative; nothing where it is right."""
    directions = function.directions(seed=0)
    with torch.no_grad():
        before, after = (function(function.moved(directions, step)) for step in (-1, 1))
    try:
        with torch.set_grad_enabled(is_recorded):
            tangent = _tangent(function, directions)
    except _REFUSALS as error:
        return _first_line(error)

    what = "derivatives in forward mode"
    if not is_recorded:
        what += " under torch.no_grad()"
    _check_slope(subject, function, tangent, slope(before, after), what)
    return ""


def _tangent(function: Function, directions: Values) -> Tensor | None:
    with forward_ad.dual_level(), warnings.catch_warnings():
        # Torch makes some of its formulas by what it deprecates itself.
        warnings.simplefilter("ignore", DeprecationWarning)
        pairs = zip(function.point, directions, strict=True)
        result = function([forward_ad.make_dual(*pair) for pair in pairs])  # type: ignore[no-untyped-call]  # torch's own
        tangent: Tensor | None = forward_ad.unpack_dual(result).tangent  # type: ignore[no-untyped-call]  # likewise
        return tangent


def _bent(y: Tensor) -> Tensor:
    return y.sin().sum()


def _linear(y: Tensor) -> Tensor:
    """Return a sum whose gradient does not depend on *y*."""
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=y.device)
    return (y * weights.view(y.shape)).sum()


def _functions(subject: Subject) -> Iterator[Function]:
    """Yield what is differentiated; many tokens only where time grows no faster than they do."""
    for steps in (0, _MANY) if subject.is_linear else (0,):
        arguments = subject.larger_call(steps)
        for is_training in (True, False):
            yield Function(subject, subject.module().train(is_training), arguments)


def _check_slope(
    subject: Subject, function: Function, found: Tensor | None, measured: Tensor, what: str
) -> None:
    error = 1.0 if found is None else relative_error(found, measured)
    if error <= _TOLERANCE:
        return
    is_left_out = found is None or not found.any()
    fault = "left out" if is_left_out else f"off by {error:.1e} of themselves"
    raise subject.failure(
        f"{what} are {fault} with {function}; return them, or raise a DerivativeError"
    )


def _summary(refusals: Iterable[str]) -> str:
    """Return what a report says of derivatives, each refused or right where nothing refuses it."""
    kinds = [f"refused by {refusal}" if refusal else "right" for refusal in dict.fromkeys(refusals)]
    return "; ".join(kinds)


def _first_line(error: Exception) -> str:
    line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {textwrap.shorten(line, _LINE)}"
