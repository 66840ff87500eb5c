"""Memory: what a run takes, and what it may take."""

from __future__ import annotations

import os
import resource
import sys

import torch

from noether_core import NoetherError, PluginError
from noether_plugins.workbench.data import make_model
from noether_plugins.workbench.experiment import Experiment

_GIB = 2**30
_BYTES = 4

# Needs are rounded down, so that nothing is refused that could fit.
_COPIES_OF_WEIGHTS = 4  # the weights, their gradients and AdamW's two moments
_NUMBERS_PER_TOKEN = 6  # of the solved aerofoils, in double and then in single precision
_ACTIVATIONS_PER_BLOCK = 8  # widths of a token that any block keeps for its backward pass


class OutOfMemoryError(NoetherError, MemoryError):
    """A run needs more memory than it may take."""


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that this process has held: on a GPU there, else in main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else kilobytes * 1024


def allowed_memory(experiment: Experiment) -> int:
    """Return the bytes that a run may take: its limit, or all that the machine has."""
    machine = memory_of_machine()
    limit = experiment.memory_limit
    return machine if limit is None else int(min(machine, limit * _GIB))


def memory_of_machine() -> int:
    """Return the bytes of main memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_need(experiment: Experiment) -> None:
    """Refuse an experiment that cannot fit, before anything is made.

    Raises:
        OutOfMemoryError: If its aerofoils, its weights or the activations of one batch, each
            estimated from below, exceed what it may take.
    """
    data, training = experiment.data, experiment.training
    tokens = data.n_surface + data.n_volume

    numbers = (data.n_train + data.n_test) * tokens * _NUMBERS_PER_TOKEN
    check_within(numbers * _BYTES, experiment, "data.n_train")

    weights = _n_weights(experiment) * _COPIES_OF_WEIGHTS
    check_within(weights * _BYTES, experiment, "attention.hidden_dim or model.depth")

    widths = training.batch_size * tokens * experiment.model.depth * _ACTIVATIONS_PER_BLOCK
    check_within(widths * experiment.attention.hidden_dim * _BYTES, experiment)


def check_within(need: int, experiment: Experiment, remedy: str = "training.batch_size") -> None:
    """Refuse to go on when *need* bytes are more than the experiment may take.

    Raises:
        OutOfMemoryError: If they are; the message names both and what to lower.
    """
    allowed = allowed_memory(experiment)
    if need <= allowed:
        return
    is_limited = allowed < memory_of_machine()
    source = "memory_limit" if is_limited else "the memory of this machine"
    raise OutOfMemoryError(
        f"the run needs at least {need / _GIB:.2f} GiB and {source} is {allowed / _GIB:.2f} GiB; "
        f"lower {remedy}"
    )


def _n_weights(experiment: Experiment) -> int:
    """Count the parameters without making them.

    Raises:
        OutOfMemoryError: If a size is beyond what torch can count.
    """
    try:
        with torch.device("meta"):
            model = make_model(experiment)
    except (OverflowError, RuntimeError, TypeError, PluginError) as error:
        if not _is_too_large(_raised_by_module(error)):
            raise
        reason = "the model is larger than torch can count; lower the sizes of attention or model"
        raise OutOfMemoryError(reason) from error
    return sum(parameter.numel() for parameter in model.parameters())


def _is_too_large(error: BaseException) -> bool:
    """Return whether an error says that a size is beyond what torch can count."""
    if isinstance(error, (RuntimeError, TypeError)):
        return "overflow" in str(error).lower()
    return isinstance(error, OverflowError)


def _raised_by_module(error: BaseException) -> BaseException:
    """Return what a module raised while it was made, around which `build` names its plugin."""
    return error.__cause__ or error if isinstance(error, PluginError) else error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that an allocation failed, on the CPU or on a GPU."""
    error = _raised_by_module(error)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # torch's allocator on the CPU has no error class of its own
    signs = ("not enough memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)
