"""The training loop: deterministic from its seed, and ended cleanly at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import attrs
import torch
from torch import Tensor, nn

from noether_core import NoetherError
from noether_plugins.workbench.data import FlowBatch, FlowUnits
from noether_plugins.workbench.experiment import TrainingConfig
from noether_plugins.workbench.model import FlowTransformer

_LARGEST_GRADIENT = 1.0


class DivergedError(NoetherError, ArithmeticError):
    """A training has left the numbers."""

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(step, loss)
        self.step = step
        self.loss = loss

    def __str__(self) -> str:
        return f"the loss is {self.loss} at step {self.step}; lower training.learning_rate or training.weight_decay"


@attrs.frozen(eq=False)
class Training:
    """What a training gave besides the weights."""

    losses: list[float]
    """Mean squared error of each step, in units of the fields' spread."""

    seconds: float
    """Time of all steps."""


def train(
    model: FlowTransformer,
    batch: FlowBatch,
    units: FlowUnits,
    config: TrainingConfig,
    *,
    seed: int,
    report: Callable[[int, float], None],
    is_interrupted: Callable[[], bool],
) -> Training:
    """Fit *model* to the aerofoils in *batch*.

    Args:
        model: The model, trained in place.
        batch: Training aerofoils, on the model's device.
        units: The units in which the model speaks.
        config: How it learns.
        seed: Seed of the order of aerofoils.
        report: Called after every step with the number of steps done and the loss.
        is_interrupted: Asked after every step; True ends the training there.

    Raises:
        DivergedError: If a loss is not finite.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _learning_rate(step, config)
    )
    generator = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    start = time.perf_counter()

    model.train()
    for step in range(1, config.steps + 1):
        rows = torch.randperm(len(batch), generator=generator)[: config.batch_size]
        loss = _loss(model, batch.select(rows.to(batch.surface.device)), units)

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


def _loss(model: FlowTransformer, batch: FlowBatch, units: FlowUnits) -> Tensor:
    """Mean squared error of pressure and of velocity, added."""
    pressure, velocity = model(batch.surface, batch.volume)
    true_pressure, true_velocity = units.encode(batch.pressure, batch.velocity)
    return nn.functional.mse_loss(pressure, true_pressure) + nn.functional.mse_loss(
        velocity, true_velocity
    )


def _learning_rate(step: int, config: TrainingConfig) -> float:
    """Share of the highest learning rate at a step: up a line, then down a cosine (Loshchilov &
    Hutter, 2017).
    """
    warm = round(config.warmup * config.steps)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, config.steps - warm)))
