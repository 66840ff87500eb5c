"""Numbers against numbers, and refusals against what they must say."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from noether_core.errors import NoetherError, shown
from noether_core.testing.failures import CheckFailed

if TYPE_CHECKING:
    from torch import Tensor

EXACT = 1e-9
"""Largest error of two ways to one result in float64, over the largest number of it."""

EIGHT_BITS = 8 * 2.0**-8
"""Largest error of a result in bfloat16, whose numbers have 8 bits, over the norm of it."""


def largest_error(got: Tensor, wanted: Tensor) -> float:
    """Return the largest difference over the largest number wanted; infinite where either is not
    finite.
    """
    got, wanted = got.detach(), wanted.detach()
    if not wanted.numel():
        return 0.0
    if not (got.isfinite().all() and wanted.isfinite().all()):
        return float("inf")
    return float(
        (got - wanted).abs().max() / wanted.abs().max().clamp_min(torch.finfo(wanted.dtype).tiny)
    )


def relative_error(got: Tensor, exact: Tensor) -> float:
    """Return the norm of the difference over that of *exact*; infinite where *got* is not finite."""
    got, exact = got.detach(), exact.detach()
    if not got.isfinite().all():
        return float("inf")
    return float(
        (got.to(exact.dtype) - exact).norm() / exact.norm().clamp_min(torch.finfo(exact.dtype).tiny)
    )


def check_close(got: Tensor, wanted: Tensor, told: str, *, tolerance: float = EXACT) -> None:
    """Check that two tensors are one.

    Args:
        got: What the variant made of it.
        wanted: What it should be.
        told: What the failure says: which result, and what it should equal.
        tolerance: Largest error over the largest number of *wanted*.

    Raises:
        CheckFailed: If they differ.
    """
    if got.shape != wanted.shape:
        raise CheckFailed(f"{told}; got shape {tuple(got.shape)}, wanted {tuple(wanted.shape)}")
    error = largest_error(got, wanted)
    if not error <= tolerance:
        raise CheckFailed(f"{told}; they differ by {error:.1e} of the largest number")


def are_alike(got: Tensor, wanted: Tensor) -> bool:
    """Return whether two tensors are one up to rounding."""
    return got.shape == wanted.shape and largest_error(got, wanted) <= EXACT


def refusal(call: Callable[[], Any], told: str) -> Exception:
    """Return what *call* raises.

    Raises:
        CheckFailed: If it raises nothing.
    """
    try:
        call()
    except Exception as error:  # noqa: BLE001  what the variant raises is what the checks look at
        return error
    raise CheckFailed(f"{told}; it was accepted")


def check_refused(call: Callable[[], Any], error: type[NoetherError], name: str, told: str) -> None:
    """Check that *call* raises an error of a class that names an argument.

    Raises:
        CheckFailed: If it does not.
    """
    raised = refusal(call, told)
    if not isinstance(raised, error):
        raise CheckFailed(
            f"{told}; expected a {error.__name__}, got {type(raised).__name__}: {shown(str(raised))}"
        ) from raised
    if not re.search(rf"\b{name}\b", str(raised)):
        raise CheckFailed(
            f"{told}; expected an error that names {name!r}, got {shown(str(raised))}"
        ) from raised
