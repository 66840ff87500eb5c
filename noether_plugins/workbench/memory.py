"""Memory: what a step takes, what a run may take, and what it needs at least."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from noether_core import NoetherError, PluginError
from noether_core.nn.consumption import Consumption
from noether_core.tasks import Layout
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.model import PointTransformer
from noether_plugins.workbench.training import Trainer

_GIB = 2**30
_BYTES = 4

# Needs are rounded down, so that nothing is refused that could fit.
_COPIES_OF_WEIGHTS = 4  # the weights, their gradients and AdamW's two moments
_ACTIVATIONS_PER_BLOCK = 8  # widths of a token that any block keeps for its backward pass


class OutOfMemoryError(NoetherError, MemoryError):
    """A run needs more memory than it may take."""


class Peak:
    """The most bytes that were allocated at once, beyond what was there before."""

    bytes: int = 0


@contextmanager
def peak_of(device: torch.device) -> Iterator[Peak]:
    """Measure what is done in the block: the most bytes of tensors that it holds at once.

    On a GPU the allocator counts them. On a CPU each operation is looked at as it is computed,
    which takes time: measure a step, not all. What an operation takes and gives back within itself
    does not count there.
    """
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device) - before
        return
    with Consumption() as consumption:
        yield peak
    peak.bytes = consumption.bytes


class StepMemory:
    """Measures what a step of a training takes, at the first two steps that it sees.

    The second is the fuller one: from then on the optimizer keeps moments of the gradients. On a
    CPU, a model that is compiled is measured as it is written, in a rehearsal: what looks at each
    operation would keep it from being compiled.
    """

    def __init__(self) -> None:
        self.bytes: int | None = None
        """Most bytes that a step holds beyond the parameters and the data; None before one."""

        self._left = 2

    def step(self, trainer: Trainer) -> float:
        """Update the weights of a trainer once; return the loss."""
        if not self._left:
            return trainer.step()
        self._left -= 1
        kept = trainer.bytes_kept
        is_rehearsed = trainer.config.compile and trainer.device.type == "cpu"
        with peak_of(trainer.device) as peak:
            if is_rehearsed:
                trainer.rehearse()
            else:
                loss = trainer.step()
        self.bytes = kept + peak.bytes
        return trainer.step() if is_rehearsed else loss


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that this process has held: on a GPU there, else in main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else kilobytes * 1024


def allowed_memory(experiment: Experiment) -> int:
    """Return the bytes that a run may take: its limit, or all that the machine has."""
    there = memory_of_machine(experiment)
    limit = experiment.memory_limit
    return there if limit is None else int(min(there, limit * _GIB))


def memory_of_machine(experiment: Experiment) -> int:
    """Return the bytes that there are where an experiment is computed, on the GPU or beside it."""
    if experiment.training.device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_properties("cuda").total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_weights(experiment: Experiment, layout: Layout) -> None:
    """Refuse a model that cannot fit, before anything is made.

    Raises:
        OutOfMemoryError: If its weights, and what AdamW keeps of them, exceed what it may take.
        PluginError: If the attention cannot be made.
    """
    weights = n_weights(experiment, layout) * _COPIES_OF_WEIGHTS
    check_within(weights * _BYTES, experiment, "attention.hidden_dim or model.depth")


def check_step(experiment: Experiment, n_points: int, *, is_padded: bool) -> None:
    """Refuse a training whose largest step cannot fit, before it begins.

    Args:
        experiment: What is to be trained.
        n_points: Points of the largest sample.
        is_padded: Whether samples of a batch are filled up to the largest; where they are not, one
            of them may be alone.

    Raises:
        OutOfMemoryError: If the activations, estimated from below, exceed what it may take.
    """
    training = experiment.training
    at_once = training.batch_size // training.accumulate if is_padded else 1
    bytes_each = 2 if training.precision == "bfloat16" else _BYTES
    widths = at_once * n_points * experiment.model.depth * _ACTIVATIONS_PER_BLOCK
    check_within(
        widths * experiment.attention.hidden_dim * bytes_each,
        experiment,
        "training.batch_size or raise training.accumulate",
    )


def check_within(
    need: int,
    experiment: Experiment,
    remedy: str = "training.batch_size or raise training.accumulate",
) -> None:
    """Refuse to go on when *need* bytes are more than the experiment may take.

    Raises:
        OutOfMemoryError: If they are; the message names both and what to lower.
    """
    allowed = allowed_memory(experiment)
    if need <= allowed:
        return
    is_limited = allowed < memory_of_machine(experiment)
    source = "memory_limit" if is_limited else "the memory of this machine"
    raise OutOfMemoryError(
        f"the run needs at least {need / _GIB:.2f} GiB and {source} is {allowed / _GIB:.2f} GiB; "
        f"lower {remedy}"
    )


def n_weights(experiment: Experiment, layout: Layout) -> int:
    """Count the parameters without making them.

    Raises:
        OutOfMemoryError: If a size is beyond what torch can count.
    """
    try:
        with torch.device("meta"):
            model = PointTransformer(experiment.attention, experiment.model, layout)
    except (OverflowError, RuntimeError, TypeError, PluginError) as error:
        if not _is_too_large(_raised_by_module(error)):
            raise
        reason = "the model is larger than torch can count; lower the sizes of attention or model"
        raise OutOfMemoryError(reason) from error
    return sum(parameter.numel() for parameter in model.parameters())


_TOO_LARGE = (
    "Storage size calculation overflowed",
    "numel: integer multiplication overflow",
    "Overflow when unpacking long",
)
"""What torch says of a size beyond what it can count; an overflow elsewhere is another fault."""

_NO_MEMORY = (
    "DefaultCPUAllocator: not enough memory",
    "DefaultCPUAllocator: can't allocate memory",
)
"""What torch says on the CPU when an allocation fails, in an error without a class of its own."""


def _is_too_large(error: BaseException) -> bool:
    """Return whether an error says that a size is beyond what torch can count."""
    is_torchs = isinstance(error, (RuntimeError, TypeError))
    return is_torchs and any(sign in str(error) for sign in _TOO_LARGE)


def _raised_by_module(error: BaseException) -> BaseException:
    """Return what a module raised while it was made, around which `build` names its plugin."""
    return error.__cause__ or error if isinstance(error, PluginError) else error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that an allocation failed, on the CPU or on a GPU."""
    error = _raised_by_module(error)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY)
