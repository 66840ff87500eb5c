"""The training loop: deterministic from its seed, shown as it goes, and ended cleanly by Ctrl-C."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import attrs
import torch
from torch import Tensor, nn

from noether_core import NoetherError
from noether_plugins.workbench.data import Batch, Units
from noether_plugins.workbench.experiment import TrainingConfig
from noether_plugins.workbench.model import PointTransformer

_LARGEST_GRADIENT = 1.0

_LINES = 10
"""Lines of progress that a run prints where there is no terminal, about."""


class DivergedError(NoetherError, ArithmeticError):
    """The loss of a training is no longer a finite number."""

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(step, loss)
        self.step = step
        self.loss = loss

    def __str__(self) -> str:
        remedy = "lower training.learning_rate or training.weight_decay"
        return f"the loss is {self.loss} at step {self.step}; {remedy}"


@attrs.frozen(eq=False)
class Training:
    """What a training gave besides the weights."""

    losses: list[float]
    """Mean squared error of each step, in units of the fields' spread."""

    seconds: float
    """Time of all steps."""


def train(
    model: PointTransformer,
    batch: Batch,
    units: Units,
    config: TrainingConfig,
    *,
    seed: int,
    report: Callable[[int, float], None],
    is_interrupted: Callable[[], bool],
) -> Training:
    """Fit *model* to the samples in *batch*.

    Args:
        model: The model, trained in place.
        batch: Training samples, on the model's device.
        units: The units of the predictions.
        config: How it learns.
        seed: Seed of the order of samples.
        report: Called after every step with the number of steps done and the loss.
        is_interrupted: Called after every step; True ends the training there.

    Raises:
        DivergedError: If a loss is not finite.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, config)
    )
    # A generator of its own: what a variant draws, such as dropout, does not change the batches.
    generator = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    start = time.perf_counter()

    model.train()
    for step in range(1, config.steps + 1):
        rows = torch.randperm(len(batch), generator=generator)[: config.batch_size]
        loss = _loss(model, batch.select(rows.to(batch.device)), units)

        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), _LARGEST_GRADIENT)
        optimizer.step()
        schedule.step()

        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise DivergedError(step, losses[-1])
        report(step, losses[-1])
        if is_interrupted():
            break
    return Training(losses, time.perf_counter() - start)


def _loss(model: PointTransformer, batch: Batch, units: Units) -> Tensor:
    """Return the mean squared errors of all fields, added."""
    predicted = model(batch.inputs)
    true = units.encode(batch.fields)
    errors = [nn.functional.mse_loss(predicted[name], true[name]) for name in true]
    return torch.stack(errors).sum()


def learning_rate_factor(step: int, config: TrainingConfig) -> float:
    """Return the learning rate at a step over the highest one.

    It rises along a line and falls along a cosine (Loshchilov & Hutter, 2017).
    """
    warm = round(config.warmup * config.steps)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, config.steps - warm)))


@contextmanager
def progress(steps: int) -> Iterator[Callable[[int, float], None]]:
    """Yield a function that shows the steps done and the loss on standard error.

    On a terminal it moves a bar, elsewhere it prints a line now and then.
    """
    if not sys.stderr.isatty():
        yield lambda step, loss: _print_line(step, loss, steps)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=steps)
        yield lambda step, loss: bar.update(task, completed=step, description=f"loss {loss:.4f}")


def _print_line(step: int, loss: float, steps: int) -> None:
    if step in (1, steps) or step % max(1, steps // _LINES) == 0:
        print(f"step {step}/{steps}: loss {loss:.4f}", file=sys.stderr, flush=True)


@contextmanager
def catch_interrupt() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C was pressed; a second one interrupts as usual.

    Signals reach only the main thread of a process; anywhere else the function returns False.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return

    def remember(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature is the signal module's
        pressed.set()
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, remember)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
