"""What a call returns: shape, dtype, device, and the same numbers whatever way it is called."""

from __future__ import annotations

import torch

from noether_core.testing import calls
from noether_core.testing.comparing import EIGHT_BITS, check_close, relative_error
from noether_core.testing.failures import CheckFailed
from noether_core.testing.gradients import are_finite, gradients_of
from noether_core.testing.subject import Subject

_SINGLE = 1e-5
"""Largest error of a result in float32 over the norm of it."""


def check_result(subject: Subject) -> None:
    """The result has the shape of the tokens that ask, their dtype and their device.

    In float32, float64 and bfloat16, with gradients as well.
    """
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        module, arguments = subject.module(dtype=dtype), subject.arguments(dtype=dtype)
        asking = arguments[calls.ASKING[subject.variant.interface]]
        y = subject.call(module, arguments)
        for fact in ("shape", "dtype", "device"):
            got, wanted = _shown(getattr(y, fact)), _shown(getattr(asking, fact))
            if got != wanted:
                raise CheckFailed(
                    f"{subject.type}: the result of {dtype} tokens has {fact} {got}, and the tokens have {wanted}"
                )


def _shown(fact: object) -> str:
    return str(tuple(fact) if isinstance(fact, torch.Size) else fact)


def check_new_tensors(subject: Subject) -> None:
    """Tensors that a call makes are made on the device of its tokens, whatever the default device
    is.
    """
    module, arguments = subject.module(), subject.arguments()
    y = subject.call(module, arguments)
    try:
        with torch.device("meta"):  # what is made without a device lands there, and fits nothing
            again = subject.call(module, arguments)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        told = "forward makes a tensor on the default device; say device=x.device where it is made"
        raise CheckFailed(f"{subject.type}: {told}: {error}") from error
    if again.device != y.device:
        raise CheckFailed(
            f"{subject.type}: with another default device the result is on {again.device}, wanted {y.device}; "
            "say device=x.device where tensors are made"
        )
    check_close(again, y, f"{subject.type}: the default device changes the result")


def check_few_tokens(subject: Subject) -> None:
    """No token, one token, two, and no sample give results of their shape, finite, with finite
    gradients.
    """
    module, sizes = subject.module(), subject.sizes
    for batch, tokens in ((sizes.batch, 0), (sizes.batch, 1), (sizes.batch, 2), (0, sizes.tokens)):
        arguments = subject.arguments(batch=batch, tokens=tokens)
        wanted = arguments[calls.ASKING[subject.variant.interface]].shape
        told = f"{subject.type}: {tokens} tokens in {batch} samples"
        try:
            y = subject.call(module, arguments)
            gradients = gradients_of(module, y)
        except Exception as error:
            raise CheckFailed(f"{told} raise {type(error).__name__}: {error}") from error
        if y.shape != wanted:
            raise CheckFailed(f"{told} give shape {tuple(y.shape)}, wanted {tuple(wanted)}")
        if not are_finite(y, gradients):
            raise CheckFailed(f"{told} give numbers or gradients that are not finite")


def check_memory_layout(subject: Subject) -> None:
    """How the tokens lie in memory does not matter."""
    module, arguments = subject.module(), subject.arguments()
    scattered = calls.on_tokens(lambda tensor, _: _scattered(tensor), arguments)
    try:
        with subject.seeded(0):
            y = subject.one_tensor(module(**scattered))
    except RuntimeError as error:
        told = (
            "tokens that are not contiguous in memory are refused; use reshape in the place of view"
        )
        raise CheckFailed(f"{subject.type}: {told}: {error}") from error
    check_close(
        y,
        subject.call(module, arguments),
        f"{subject.type}: tokens that are not contiguous change the result",
    )


def _scattered(tensor: torch.Tensor) -> torch.Tensor:
    """Return the same numbers, tokens before samples in memory and with a gap behind each number."""
    apart = torch.stack([tensor, tensor], dim=-1)
    return apart.transpose(0, 1).contiguous().transpose(0, 1)[..., 0]


def check_inputs_unchanged(subject: Subject) -> None:
    """A call leaves its arguments as they are."""
    module = subject.module()
    for arguments in subject.each_call(module):
        given = calls.cloned(arguments)
        with subject.seeded(0), torch.no_grad():
            module(**given)
        for name, value in arguments.items():
            if isinstance(value, torch.Tensor) and not torch.equal(given[name], value):
                raise CheckFailed(
                    f"{subject.type}: forward changes {name} in place; work on a copy"
                )


def check_float32(subject: Subject) -> str:
    """A result in float32 is that of float64 to rounding."""
    error = _error_in(subject, torch.float32)
    if not error <= _SINGLE:
        raise CheckFailed(
            f"{subject.type}: the result in float32 is off by {error:.1e}, wanted {_SINGLE:.0e} at most"
        )
    return f"off by {error:.1e}"


def check_bfloat16(subject: Subject) -> str:
    """A result in bfloat16 is that of float64 to what 8 bits can tell."""
    error = _error_in(subject, torch.bfloat16)
    if not error <= EIGHT_BITS:
        raise CheckFailed(
            f"{subject.type}: the result in bfloat16 is off by {error:.1%}, wanted {EIGHT_BITS:.1%} at most; "
            "take sums and exponents in float32"
        )
    return f"off by {error:.2%}"


def check_autocast(subject: Subject) -> str:
    """Under autocast to bfloat16 a result is that of float64 to what 8 bits can tell, and gradients
    are finite.
    """
    module, arguments = subject.module(dtype=torch.float32), subject.arguments(dtype=torch.float32)
    exact = _exact(subject, module, arguments)
    try:
        with torch.autocast(torch.device(subject.device).type, torch.bfloat16):
            y = subject.call(module, arguments)
        gradients = gradients_of(module, y)
    except RuntimeError as error:
        told = "fails under autocast, where layers return bfloat16 for float32 tokens; cast what meets them"
        raise CheckFailed(f"{subject.type}: {told}: {error}") from error
    off = relative_error(y, exact)
    if not off <= EIGHT_BITS:
        raise CheckFailed(
            f"{subject.type}: the result under autocast is off by {off:.1%}, wanted {EIGHT_BITS:.1%} at most"
        )
    if not are_finite(y, gradients):
        raise CheckFailed(f"{subject.type}: gradients under autocast are not finite")
    return f"off by {off:.2%}"


def _error_in(subject: Subject, dtype: torch.dtype) -> float:
    """Return the error of a result in *dtype*, for weights and inputs that have been rounded to it."""
    module, arguments = subject.module(dtype=dtype), subject.arguments(dtype=dtype)
    return relative_error(subject.call(module, arguments), _exact(subject, module, arguments))


def _exact(subject: Subject, module: torch.nn.Module, arguments: calls.Arguments) -> torch.Tensor:
    wide = calls.moved(arguments, subject.device, torch.float64)
    return subject.call(subject.twin(module, torch.float64), wide)
