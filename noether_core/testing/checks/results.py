"""What a call returns: shape, dtype, device, and the same numbers whatever way it is called."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noether_core.testing import calls
from noether_core.testing.comparing import EIGHT_BITS, check_close, relative_error
from noether_core.testing.contract import check
from noether_core.testing.gradients import are_finite, gradients_of
from noether_core.testing.subject import Subject

_SINGLE = 1e-5
"""Largest error of a result in float32 over the norm of it."""


@check(needs="signature")
def check_result(subject: Subject) -> None:
    """The result has the shape of the tokens that attend, their dtype and their device.

    In float32, float64 and bfloat16.
    """
    subject.check_has("call")
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        module, arguments = subject.module(dtype=dtype), subject.arguments(dtype=dtype)
        tokens = arguments[subject.signature.queries]
        y = subject.call(module, arguments)
        for fact in ("shape", "dtype", "device"):
            got, wanted = _shown(getattr(y, fact)), _shown(getattr(tokens, fact))
            if got != wanted:
                raise subject.failure(
                    f"the result of {dtype} tokens has {fact} {got}, and the tokens have {wanted}"
                )


def _shown(fact: object) -> str:
    return str(tuple(fact) if isinstance(fact, torch.Size) else fact)


@check()
def check_new_tensors(subject: Subject) -> None:
    """Tensors that a call makes are on the device of its tokens, whatever the default device."""
    module, arguments = subject.module(), subject.arguments()
    y = subject.call(module, arguments)
    try:
        with torch.device("meta"):  # what is made without a device lands there, and fits nothing
            again = subject.call(module, arguments)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        problem = "forward makes a tensor on the default device; say device=x.device for it"
        raise subject.failure(f"{problem}: {error}") from error
    if again.device != y.device:
        raise subject.failure(
            f"with another default device the result is on {again.device}, wanted {y.device}; "
            "say device=x.device where tensors are made"
        )
    check_close(again, y, f"{subject.type}: the default device changes the result")


@check(needs="gradients")
def check_few_tokens(subject: Subject) -> None:
    """No token, one, two, and no sample give finite results of their shape, finite gradients."""
    module, sizes = subject.module(), subject.sizes
    fewest = calls.domains_of(subject.config()) or 0  # each domain has a token
    for batch, tokens in ((sizes.batch, 0), (sizes.batch, 1), (sizes.batch, 2), (0, sizes.tokens)):
        if tokens < fewest:
            continue
        arguments = subject.arguments(batch=batch, tokens=tokens)
        wanted = arguments[subject.signature.queries].shape
        call = f"{tokens} tokens in {batch} samples"
        try:
            y = subject.call(module, arguments)
            gradients = gradients_of(module, y)
        except Exception as error:
            raise subject.failure(f"{call} raise {type(error).__name__}: {error}") from error
        if y.shape != wanted:
            raise subject.failure(f"{call} give shape {tuple(y.shape)}, wanted {tuple(wanted)}")
        if not are_finite(y, gradients):
            raise subject.failure(f"{call} give numbers or gradients that are not finite")


@check()
def check_memory_layout(subject: Subject) -> None:
    """How the tokens lie in memory does not matter."""
    module, arguments = subject.module(), subject.arguments()
    scattered = calls.each_tensor(_scattered, arguments)
    try:
        with subject.seeded(0):
            # Not by `call`, which makes copies that are contiguous.
            y = subject.one_tensor(module(**scattered))
    except RuntimeError as error:
        problem = "tokens that are not contiguous are refused; use reshape in the place of view"
        raise subject.failure(f"{problem}: {error}") from error
    problem = f"{subject.type}: tokens that are not contiguous change the result"
    check_close(y, subject.call(module, arguments), problem)


def _scattered(tensor: Tensor) -> Tensor:
    """Return the same numbers, tokens before samples in memory and a gap behind each number."""
    apart = torch.stack([tensor, tensor], dim=-1)
    return apart.transpose(0, 1).contiguous().transpose(0, 1)[..., 0]


@check()
def check_inputs_unchanged(subject: Subject) -> None:
    """A call leaves its arguments as they are."""
    module = subject.module()
    for arguments in subject.each_call(module):
        given = calls.cloned(arguments)
        with subject.seeded(0), torch.no_grad():
            module(**given)
        for name, value in arguments.items():
            if isinstance(value, Tensor) and not torch.equal(given[name], value):
                raise subject.failure(f"forward changes {name} in place; work on a copy")


@check()
def check_float32(subject: Subject) -> str:
    """A result in float32 is that of float64 to rounding."""
    error = _error_in(subject, torch.float32)
    if not error <= _SINGLE:
        raise subject.failure(
            f"the result in float32 is off by {error:.1e}, wanted {_SINGLE:.0e} at most"
        )
    return f"off by {error:.1e}"


@check()
def check_bfloat16(subject: Subject) -> str:
    """A result in bfloat16 is that of float64 to the precision of 8 bits."""
    error = _error_in(subject, torch.bfloat16)
    if not error <= EIGHT_BITS:
        raise subject.failure(
            f"the result in bfloat16 is off by {error:.1%}, wanted {EIGHT_BITS:.1%} at most; "
            "take sums and exponents in float32"
        )
    return f"off by {error:.2%}"


@check(needs="gradients")
def check_autocast(subject: Subject) -> str:
    """Under autocast a result is that of float64 to 8 bits, and gradients are finite."""
    module, arguments = subject.module(dtype=torch.float32), subject.arguments(dtype=torch.float32)
    exact = _exact(subject, module, arguments)
    try:
        with torch.autocast(torch.device(subject.device).type, torch.bfloat16):
            y = subject.call(module, arguments)
        gradients = gradients_of(module, y)
    except RuntimeError as error:
        problem = "autocast fails: layers return bfloat16 for float32 tokens; cast what meets them"
        raise subject.failure(f"{problem}: {error}") from error

    off = relative_error(y, exact)
    if not off <= EIGHT_BITS:
        raise subject.failure(
            f"the result under autocast is off by {off:.1%}, wanted {EIGHT_BITS:.1%} at most"
        )
    if not are_finite(y, gradients):
        raise subject.failure("gradients under autocast are not finite")
    return f"off by {off:.2%}"


def _error_in(subject: Subject, dtype: torch.dtype) -> float:
    """Return the error of a result in *dtype*, for weights and inputs that were rounded to it."""
    module, arguments = subject.module(dtype=dtype), subject.arguments(dtype=dtype)
    return relative_error(subject.call(module, arguments), _exact(subject, module, arguments))


def _exact(subject: Subject, module: nn.Module, arguments: calls.Arguments) -> Tensor:
    wide = calls.moved(arguments, subject.device, torch.float64)
    return subject.call(subject.twin(module, torch.float64), wide)
