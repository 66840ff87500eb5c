"""What outlives a call: weights in files, copies, modules without memory, global state."""

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

import attrs
import torch
from torch import nn

from noether_core.testing.comparing import check_close
from noether_core.testing.contract import check
from noether_core.testing.subject import Subject, config_of


@check()
def check_state_dict(subject: Subject) -> None:
    """The state dict holds all that a module has learnt: one that loads it computes the same."""
    module, arguments = subject.module(), subject.arguments()
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = subject.module(seed=7)
    other.load_state_dict(torch.load(file, weights_only=True))
    problem = f"{subject.type}: a module that loads a state dict computes something else"
    check_close(subject.call(other, arguments), subject.call(module, arguments), problem)


@check()
def check_copies(subject: Subject) -> None:
    """A deep copy and a pickled copy compute the same, keep the config and share no memory."""
    module, arguments = subject.module(), subject.arguments()
    y = subject.call(module, arguments)
    memory = {parameter.data_ptr() for parameter in module.parameters()}
    for kind, copied in _COPIES.items():
        try:
            twin = copied(module)
        except Exception as error:
            raise subject.failure(
                f"a {kind} copy cannot be made: {type(error).__name__}: {error}; keep no lambdas, "
                "local functions or open files in a module"
            ) from error
        problem = f"{subject.type}: a {kind} copy computes something else"
        check_close(subject.call(twin, arguments), y, problem)
        if twin.config != module.config:
            raise subject.failure(f"a {kind} copy has another config")
        # A parameter without numbers has no memory, and its pointer is that of any other such.
        if memory & {parameter.data_ptr() for parameter in twin.parameters() if parameter.numel()}:
            raise subject.failure(f"a {kind} copy shares the memory of its parameters")


_COPIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "deep": copy.deepcopy,
    "pickled": lambda module: pickle.loads(pickle.dumps(module)),  # noqa: S301  our own bytes
}


@check()
def check_meta_device(subject: Subject) -> None:
    """A module can be made on the meta device, and takes its weights by assignment."""
    source = subject.module(dtype=torch.float32)
    state = source.state_dict()
    wanted = subject.module(dtype=torch.float32, seed=8)
    wanted.load_state_dict(state)
    try:
        with torch.device("meta"):
            module = subject.made_directly(config_of(source))
    except Exception as error:
        raise subject.failure(
            f"a module cannot be made on the meta device: {type(error).__name__}: {error}; "
            "look at no number of a weight when a module is made"
        ) from error

    real = [name for name, tensor in _tensors(module).items() if not tensor.is_meta]
    if real:
        raise subject.failure(
            f"on the meta device {', '.join(real)} take memory; name no device for them"
        )
    module.load_state_dict(state, assign=True)
    bare = [name for name, tensor in _tensors(module).items() if tensor.is_meta]
    if bare:
        raise subject.failure(
            f"{', '.join(bare)} stay without memory, as no state dict holds them; make them "
            "persistent, or compute them in forward"
        )

    arguments = subject.arguments(dtype=torch.float32)
    problem = f"{subject.type}: a module that was made without memory computes something else"
    got = subject.call(module.eval(), arguments)
    check_close(got, subject.call(wanted, arguments), problem)


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@check(needs="gradients")
def check_global_state(subject: Subject) -> None:
    """A module leaves the state of torch and Python as it is, and takes random numbers as they are.

    Defaults, modes, threads, precision, kernels, warnings, the environment, and the generators of
    Python and numpy. Torch's generator moves on by what is drawn, which in evaluation is nothing.
    """
    _check_draws(subject)
    with subject.seeded(4), _unusual_state():
        before = _global_state()
        # By its class: `build` would put back what the constructor changes.
        module = subject.module_class(subject.config()).to(subject.device, torch.float64)
        arguments = subject.arguments()
        subject.call(module.train(), arguments).square().sum().backward()  # type: ignore[no-untyped-call]  # torch's own
        with torch.no_grad():
            subject.call(module.eval(), arguments)
            is_grad_enabled = torch.is_grad_enabled()
        after = _global_state()

    changed = [fact for fact, value in before.items() if after[fact] != value]
    if is_grad_enabled:
        changed.append("grad mode")
    if changed:
        raise subject.failure(f"a module changes {', '.join(changed)}, of its whole process")


def _check_draws(subject: Subject) -> None:
    """Check that a module neither seeds torch's generator nor, in evaluation, draws from it."""
    after_making = []
    for seed in (1, 2):
        with subject.seeded(seed):
            module = subject.module_class(subject.config())
            after_making.append(torch.get_rng_state())
    if torch.equal(*after_making):
        raise subject.failure(
            "making a module seeds torch's generator, which is its user's to seed"
        )

    with subject.seeded(3):
        state = torch.get_rng_state()
        module.to(subject.device, torch.float64).eval()(**subject.arguments())
        has_drawn = not torch.equal(state, torch.get_rng_state())
    if subject.honours("deterministic") and has_drawn:
        raise subject.failure(
            "evaluation draws from torch's generator, and the record promises 'deterministic'"
        )


@attrs.frozen
class _Setting:
    """A part of the state that can be set."""

    get: Callable[[], Any]
    put: Callable[[Any], Any]
    unusual: Any
    """A value that nobody else gives it."""


@contextmanager
def _unusual_state() -> Iterator[None]:
    """Put unusual values in the place of defaults, so that who sets the usual ones is seen."""
    usual = [setting.get() for setting in _SETTINGS]
    try:
        for setting in _SETTINGS:
            setting.put(setting.unusual)
        yield
    finally:
        for setting, value in zip(_SETTINGS, usual, strict=True):
            setting.put(value)


def _set_threads(count: int) -> None:
    torch.set_num_threads(count)


def _set_benchmark(value: bool) -> None:
    torch.backends.cudnn.benchmark = value


_SETTINGS = (
    _Setting(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    _Setting(torch.get_num_threads, _set_threads, 3),
    _Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"),
    _Setting(lambda: torch.backends.cudnn.benchmark, _set_benchmark, unusual=True),
    _Setting(random.getstate, random.setstate, random.Random(5).getstate()),  # noqa: S311  no secret is drawn
)


def _global_state() -> dict[str, Any]:
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
