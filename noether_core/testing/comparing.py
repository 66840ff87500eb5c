"""Numbers against numbers, and refusals against what they must say."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from noether_core.errors import NoetherError, shown
from noether_core.testing.contract import CheckFailed

if TYPE_CHECKING:
    from torch import Tensor

EXACT = 1e-9
"""Largest error of two ways to one result in float64, over the largest number of it."""

EIGHT_BITS = 8 * 2.0**-8
"""Largest error of a result in bfloat16, whose numbers have 8 bits, over the norm of it."""


def largest_error(got: Tensor, wanted: Tensor) -> float:
    """Return the largest difference over the largest number wanted.

    Infinite where either is not finite.
    """
    got, wanted = got.detach(), wanted.detach()
    if not wanted.numel():
        return 0.0
    if not (got.isfinite().all() and wanted.isfinite().all()):
        return float("inf")
    largest = wanted.abs().max().clamp_min(torch.finfo(wanted.dtype).tiny)
    return float((got - wanted).abs().max() / largest)


def relative_error(got: Tensor, exact: Tensor) -> float:
    """Return the norm of the difference over that of *exact*; infinite if *got* is not finite."""
    got, exact = got.detach(), exact.detach()
    if not got.isfinite().all():
        return float("inf")
    norm = exact.norm().clamp_min(torch.finfo(exact.dtype).tiny)
    return float((got.to(exact.dtype) - exact).norm() / norm)


def are_alike(got: Tensor, wanted: Tensor) -> bool:
    """Return whether two tensors are one up to rounding."""
    return got.shape == wanted.shape and largest_error(got, wanted) <= EXACT


def check_close(got: Tensor, wanted: Tensor, problem: str, *, tolerance: float = EXACT) -> None:
    """Check that two tensors are one.

    Args:
        got: What the variant made of it.
        wanted: What it should be.
        problem: What it means if they differ.
        tolerance: Largest error over the largest number of *wanted*.

    Raises:
        CheckFailed: If they differ.
    """
    if got.shape != wanted.shape:
        raise CheckFailed(f"{problem}; got shape {tuple(got.shape)}, wanted {tuple(wanted.shape)}")
    error = largest_error(got, wanted)
    if not error <= tolerance:  # also where it is no number
        raise CheckFailed(f"{problem}; they differ by {error:.1e} of the largest number")


def check_refused(
    call: Callable[[], Any], error: type[NoetherError], name: str, problem: str
) -> None:
    """Check that *call* raises an error of a class that names an argument.

    Raises:
        CheckFailed: If it does not; the message begins with *problem*.
    """
    try:
        call()
    except Exception as raised:
        message = shown(str(raised))
        if not isinstance(raised, error):
            got = f"{type(raised).__name__}: {message}"
            raise CheckFailed(f"{problem}; got {got}, wanted a {error.__name__}") from raised
        if not re.search(rf"\b{name}\b", str(raised)):
            wanted = f"wanted an error that names {name!r}"
            raise CheckFailed(f"{problem}; got {message}, {wanted}") from raised
    else:
        raise CheckFailed(f"{problem}; it was accepted")
