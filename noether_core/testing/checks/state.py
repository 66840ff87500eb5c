"""What outlives a call: weights in files, copies, modules without memory, and the state of torch
and Python.
"""

from __future__ import annotations

import copy
import io
import os
import pickle
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from noether_core.testing.comparing import check_close
from noether_core.testing.failures import CheckFailed
from noether_core.testing.subject import Subject, config_of


def check_state_dict(subject: Subject) -> None:
    """The state dict holds all that a module has learnt: another module that loads it computes the
    same.
    """
    module, arguments = subject.module(), subject.arguments()
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = subject.module(seed=7)
    other.load_state_dict(torch.load(file, weights_only=True))
    told = f"{subject.type}: a module that loads the state dict of another computes something else"
    check_close(subject.call(other, arguments), subject.call(module, arguments), told)


def check_copies(subject: Subject) -> None:
    """A deep copy and a pickled copy compute the same, keep the config and share no memory."""
    module, arguments = subject.module(), subject.arguments()
    y, memory = (
        subject.call(module, arguments),
        {parameter.data_ptr() for parameter in module.parameters()},
    )
    for kind, copied in _COPIES.items():
        try:
            twin = copied(module)
        except Exception as error:
            raise CheckFailed(
                f"{subject.type}: a {kind} copy cannot be made: {type(error).__name__}: {error}; keep no lambdas, "
                "local functions or open files in a module"
            ) from error
        check_close(
            subject.call(twin, arguments),
            y,
            f"{subject.type}: a {kind} copy computes something else",
        )
        if twin.config != module.config:
            raise CheckFailed(f"{subject.type}: a {kind} copy has another config")
        if memory & {parameter.data_ptr() for parameter in twin.parameters() if parameter.numel()}:
            raise CheckFailed(f"{subject.type}: a {kind} copy shares the memory of its parameters")


_COPIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "deep": copy.deepcopy,
    "pickled": lambda module: pickle.loads(pickle.dumps(module)),  # noqa: S301  our own bytes
}


def check_meta_device(subject: Subject) -> None:
    """A module can be made without memory, on the meta device, and takes its weights by assignment."""
    source = subject.module(dtype=torch.float32)
    state = source.state_dict()
    wanted = subject.module(dtype=torch.float32, seed=8)
    wanted.load_state_dict(state)
    try:
        with torch.device("meta"):
            module = subject.made_directly(config_of(source))
    except Exception as error:
        told = f"a module cannot be made on the meta device: {type(error).__name__}: {error}"
        raise CheckFailed(
            f"{subject.type}: {told}; look at no number of a weight when a module is made"
        ) from error
    if real := [name for name, tensor in _tensors(module).items() if not tensor.is_meta]:
        raise CheckFailed(
            f"{subject.type}: on the meta device {', '.join(real)} take memory; name no device for them"
        )
    module.load_state_dict(state, assign=True)
    if bare := [name for name, tensor in _tensors(module).items() if tensor.is_meta]:
        raise CheckFailed(
            f"{subject.type}: {', '.join(bare)} stay without memory, as no state dict holds them; make them "
            "persistent, or compute them in forward"
        )
    arguments = subject.arguments(dtype=torch.float32)
    told = f"{subject.type}: a module that was made without memory computes something else"
    check_close(subject.call(module.eval(), arguments), subject.call(wanted, arguments), told)


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def check_global_state(subject: Subject) -> None:
    """Making and calling a module leaves the state of torch and Python as it is, and takes random
    numbers as they come.

    Defaults, modes, threads, precision, kernels, warnings, the environment, and the generators of
    Python and numpy. Torch's generator moves on by what is drawn, which in evaluation is nothing.
    """
    _check_draws(subject)
    with _unusual_state():
        before = _surroundings()
        module, arguments = subject.module(), subject.arguments()
        subject.call(module.train(), arguments).square().sum().backward()  # type: ignore[no-untyped-call]  # torch's own
        with torch.no_grad():
            subject.call(module.eval(), arguments)
            is_grad_enabled = torch.is_grad_enabled()
        after = _surroundings()
    changed = [fact for fact, value in before.items() if after[fact] != value] + [
        "grad mode"
    ] * is_grad_enabled
    if changed:
        raise CheckFailed(
            f"{subject.type}: a module changes {', '.join(changed)}, of its whole process"
        )


def _check_draws(subject: Subject) -> None:
    """Check that a module neither seeds torch's generator nor, in evaluation, draws from it."""
    after_making = []
    for seed in (1, 2):
        with subject.seeded(seed):
            module = subject.module_class(subject.config())
            after_making.append(torch.get_rng_state())
    if torch.equal(*after_making):
        raise CheckFailed(
            f"{subject.type}: making a module seeds torch's generator, which is its user's to seed"
        )
    with subject.seeded(3):
        state = torch.get_rng_state()
        module.to(subject.device, torch.float64).eval()(**subject.arguments())
        is_unmoved = torch.equal(state, torch.get_rng_state())
    if subject.honours("deterministic") and not is_unmoved:
        raise CheckFailed(
            f"{subject.type}: evaluation draws from torch's generator, and is declared deterministic"
        )


@contextmanager
def _unusual_state() -> Iterator[None]:
    """Put unusual values in the place of defaults, so that who sets the usual ones is seen."""
    usual = [get() for get, _, _ in _SETTABLE]
    try:
        for _, put, unusual in _SETTABLE:
            put(unusual)
        yield
    finally:
        for (_, put, _), value in zip(_SETTABLE, usual, strict=True):
            put(value)


def _set_threads(count: int) -> None:
    torch.set_num_threads(count)


def _set_benchmark(value: bool) -> None:
    torch.backends.cudnn.benchmark = value


_SETTABLE: tuple[tuple[Callable[[], Any], Callable[[Any], Any], Any], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    (torch.get_num_threads, _set_threads, 3),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"),
    (lambda: torch.backends.cudnn.benchmark, _set_benchmark, True),
    (random.getstate, random.setstate, random.Random(5).getstate()),  # noqa: S311  no secret is drawn
)
"""What of the state can be read, how it is set, and a value that nobody else gives it."""


def _surroundings() -> dict[str, Any]:
    """Return the state of torch and Python that is nobody's own."""
    return {
        "the default dtype": torch.get_default_dtype(),
        "the default device": torch.get_default_device(),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "the number of threads": torch.get_num_threads(),
        "the precision of products": torch.get_float32_matmul_precision(),
        "the kernels of attention": [is_enabled() for is_enabled in _KERNELS],
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "Python's generator": random.getstate(),
        "numpy's generator": _numpy_state(),
        "warnings": list(warnings.filters),
        "the environment": dict(os.environ),
        "sys.path": list(sys.path),
    }


_KERNELS: tuple[Callable[[], bool], ...] = (
    torch.backends.cuda.flash_sdp_enabled,
    torch.backends.cuda.mem_efficient_sdp_enabled,
    torch.backends.cuda.math_sdp_enabled,
)


def _numpy_state() -> bytes:
    numpy = sys.modules.get("numpy")
    return b"" if numpy is None else pickle.dumps(numpy.random.get_state())
