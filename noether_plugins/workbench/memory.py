"""Memory: what a run takes, and what it may take."""

from __future__ import annotations

import os
import resource
import sys

import torch

from noether_core import NoetherError, PluginError
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.model import FlowTransformer

_GIB = 2**30
_BYTES = 4
_COPIES_OF_WEIGHTS = 4  # the weights, their gradients and AdamW's two moments
_NUMBERS_PER_TOKEN = (
    6  # of the solved aerofoils, in double and then in single precision: rounded down
)
_ACTIVATIONS_PER_BLOCK = (
    8  # widths of a token that any block keeps for its backward pass: rounded down
)


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
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = experiment.memory_limit
    return machine if limit is None else int(min(machine, limit * _GIB))


def check_need(experiment: Experiment) -> None:
    """Refuse an experiment that cannot fit, before anything is made.

    Raises:
        OutOfMemoryError: If its aerofoils, its weights or the activations of one batch, each
            estimated from below, exceed what it may take.
    """
    data, training = experiment.data, experiment.training
    tokens = data.n_surface + data.n_volume
    needs = {
        "data.n_train": (data.n_train + data.n_test) * tokens * _NUMBERS_PER_TOKEN * _BYTES,
        "attention.hidden_dim or model.depth": _weights(experiment) * _COPIES_OF_WEIGHTS * _BYTES,
        "training.batch_size": training.batch_size
        * tokens
        * experiment.attention.hidden_dim
        * experiment.model.depth
        * _ACTIVATIONS_PER_BLOCK
        * _BYTES,
    }
    for remedy, need in needs.items():
        check_within(need, experiment, remedy)


def check_within(need: int, experiment: Experiment, remedy: str = "training.batch_size") -> None:
    """Refuse to go on when *need* bytes are more than the experiment may take.

    Raises:
        OutOfMemoryError: If they are; the message names both and what to lower.
    """
    allowed = allowed_memory(experiment)
    if need > allowed:
        source = (
            "memory_limit" if experiment.memory_limit is not None else "the memory of this machine"
        )
        raise OutOfMemoryError(
            f"the run needs at least {need / _GIB:.2f} GiB and {source} is {allowed / _GIB:.2f} GiB; lower {remedy}"
        )


def _weights(experiment: Experiment) -> int:
    """Count the parameters without making them.

    Raises:
        OutOfMemoryError: If a size is beyond what torch can count.
    """
    try:
        with torch.device("meta"):
            model = FlowTransformer(experiment)
    except (OverflowError, RuntimeError, TypeError, PluginError) as error:
        raised = _raised_by_module(error)
        if isinstance(raised, (NoetherError, ImportError)):
            raise
        reason = "the model is larger than torch can count; lower the sizes of attention or model"
        raise OutOfMemoryError(reason) from error
    return sum(parameter.numel() for parameter in model.parameters())


def _raised_by_module(error: BaseException) -> BaseException:
    """Return what a module raised while it was made, around which `build` names its plugin."""
    return error.__cause__ or error if isinstance(error, PluginError) else error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that an allocation failed, on the CPU or on a GPU."""
    error = _raised_by_module(error)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    told = str(error)
    return isinstance(error, RuntimeError) and (
        "not enough memory" in told or "can't allocate memory" in told
    )
