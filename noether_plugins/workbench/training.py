"""The training: one update after the other, the same again from its seed or from its state."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from noether_core import NoetherError
from noether_plugins.workbench.data import Batch, Case, Cases, Data, collate, n_present
from noether_plugins.workbench.experiment import TrainingConfig
from noether_plugins.workbench.model import PointTransformer

_LARGEST_GRADIENT = 1.0

Weights = dict[str, Any]
"""The state dict of a model."""


class DivergedError(NoetherError, ArithmeticError):
    """The loss of a training is no longer a finite number."""

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(step, loss)
        self.step = step
        self.loss = loss

    def __str__(self) -> str:
        remedy = "lower training.learning_rate or training.weight_decay"
        return f"the loss is {self.loss} at step {self.step}; {remedy}"


class Trainer:
    """Fits a model to samples, step by step.

    Nothing in it depends on the time. A trainer that was made of equal arguments, and given the
    `state` of another, goes on as that one does: on a CPU to the same numbers, bit for bit, unless
    the model is compiled.

    Args:
        model: The model, trained in place; its device is where everything is computed.
        data: What it learns from.
        config: How it learns.
        seed: Seed of the order of samples.
    """

    def __init__(
        self, model: PointTransformer, data: Data, config: TrainingConfig, *, seed: int
    ) -> None:
        self.model, self.data, self.config = model, data, config
        self.losses: list[float] = []
        """Of each step the mean squared errors of all fields, added, in units of their spread."""

        self.validations: dict[int, float] = {}
        """By step, the same of the samples that are kept aside."""

        self._optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        # A generator of its own: what a variant draws, such as dropout, changes no batches.
        self._order = torch.Generator().manual_seed(seed)
        self._average: dict[str, Tensor] | None = None
        if config.ema is not None:
            self._average = _copied(dict(_named_parameters(model)))
        self._best: Weights | None = None
        self.device = next(model.parameters()).device
        """Where everything is computed."""

        self._forward = torch.compile(model) if config.compile else model

    @property
    def steps_done(self) -> int:
        """Updates so far."""
        return len(self.losses)

    @property
    def is_done(self) -> bool:
        """Whether that is all of them."""
        return self.steps_done >= self.config.steps

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return self.config.learning_rate * learning_rate_factor(self.steps_done, self.config)

    @property
    def bytes_kept(self) -> int:
        """Bytes that are kept from step to step beside the weights: moments and the average."""
        states = [*self._optimizer.state.values(), self._average or {}]
        return sum(
            value.nbytes for state in states for value in state.values() if torch.is_tensor(value)
        )

    def step(self) -> float:
        """Update the weights once; return the loss before.

        Raises:
            DivergedError: If the loss is not finite; the weights are those from before.
        """
        step = self.steps_done + 1
        loss = self.add_gradients(self._next_cases(), self._forward).item()
        if not math.isfinite(loss):
            self._optimizer.zero_grad(set_to_none=True)
            raise DivergedError(step, loss)

        nn.utils.clip_grad_norm_(self.model.parameters(), _LARGEST_GRADIENT)
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

        self.losses.append(loss)
        if self._average is not None:
            self._update_average(self._average)
        self._validate_if_due()
        return loss

    def rehearse(self) -> None:
        """Compute the gradients of the next step, uncompiled, and forget them.

        Nothing of the training changes: the next step is the same as without.
        """
        order, device = self._order.get_state(), self.device
        gpus = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=gpus), self._weights(self.model.state_dict()):
            self.add_gradients(self._next_cases(), self.model)
        self._optimizer.zero_grad(set_to_none=True)
        self._order.set_state(order)

    def _next_cases(self) -> list[Case]:
        """Draw the samples of the next step."""
        train = self.data.train
        rows = torch.randperm(len(train), generator=self._order)[: self.config.batch_size]
        return [train.get(row, self.steps_done + 1) for row in rows.tolist()]

    def add_gradients(self, cases: Sequence[Case], model: Callable[..., Any]) -> Tensor:
        """Compute the gradient of the loss, part by part; return the loss.

        Args:
            cases: The samples of the step.
            model: The model, or what it was compiled to.
        """
        self.model.train()
        at_once = math.ceil(len(cases) / self.config.accumulate)
        totals = n_present(cases)
        losses: list[Tensor] = []
        for part in self._parts(cases, at_once):
            loss = self._share_of_loss(collate(part), totals, model)
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _share_of_loss(
        self, batch: Batch, totals: Mapping[str, int], model: Callable[..., Any]
    ) -> Tensor:
        """Return what a part adds to the loss of all samples.

        Args:
            batch: The part.
            totals: For each group, how many of all samples have points there.
            model: The model, or what it was compiled to.
        """
        with self._precision():
            predicted = model(batch.features, batch.real)
        shares: list[Tensor] = []
        for (group, _), loss in field_losses(predicted, batch).items():
            shares.append(loss * (batch.n_present[group] / totals[group]))
        if not shares:  # nothing to predict in this part
            return torch.zeros((), device=self.device, requires_grad=True)
        return torch.stack(shares).sum()

    def _parts(self, cases: Sequence[Case], at_once: int) -> Iterator[Sequence[Case]]:
        """Yield samples in parts; one by one where they need padding that the variant refuses."""
        for start in range(0, len(cases), at_once):
            part = cases[start : start + at_once]
            if self.model.takes_padding or len({case.sizes for case in part}) == 1:
                yield part
            else:
                yield from ([case] for case in part)

    def _precision(self) -> AbstractContextManager[object]:
        if self.config.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _update_average(self, average: dict[str, Tensor]) -> None:
        """Move the average of the weights towards those of this step."""
        decay = min(self.config.ema or 0.0, (1 + self.steps_done) / (10 + self.steps_done))
        with torch.no_grad():
            for name, parameter in _named_parameters(self.model):
                average[name].lerp_(parameter, 1 - decay)

    def _validate_if_due(self) -> None:
        """Compute the loss on the samples kept aside, and keep the best weights."""
        held_out, step = self.data.validation, self.steps_done
        is_due = step % self.config.validation_steps == 0 or self.is_done
        if held_out is None or not is_due:
            return
        with self._weights(self._averaged()):
            loss = self._validation_loss(held_out)
            if loss < min(filter(math.isfinite, self.validations.values()), default=math.inf):
                self._best = _copied(self.model.state_dict())
        self.validations[step] = loss

    @torch.no_grad()
    def _validation_loss(self, held_out: Cases) -> float:
        self.model.eval()
        losses: dict[tuple[str, str], list[float]] = {}
        for row in range(len(held_out)):
            batch = collate([held_out.get(row, step=0)])
            with self._precision():
                predicted = self.model(batch.features)
            for field, loss in field_losses(predicted, batch).items():
                losses.setdefault(field, []).append(loss.item())
        return sum(math.fsum(each) / len(each) for each in losses.values())

    @contextmanager
    def learnt(self) -> Iterator[PointTransformer]:
        """Yield the model with the weights that are to be used; behind it, the training can go on.

        They are the best of those that were validated; elsewhere the moving average, where there is
        one.
        """
        with self._weights(self._best or self._averaged()):
            self.model.eval()
            yield self.model

    def _averaged(self) -> Weights | None:
        """Return the moving average, with whatever else the model keeps; None without one."""
        if self._average is None:
            return None
        return {**self.model.state_dict(), **self._average}

    @contextmanager
    def _weights(self, weights: Weights | None) -> Iterator[None]:
        """Let the model have other weights for a while; None for its own."""
        if weights is None:
            yield
            return
        own = _copied(self.model.state_dict())
        self.model.load_state_dict(weights)
        try:
            yield
        finally:
            self.model.load_state_dict(own)

    def state(self) -> dict[str, Any]:
        """Return all that the training goes on from: plain data and tensors, to be written.

        The tensors are those in use, which the next step changes.
        """
        is_cuda = self.device.type == "cuda"
        return {
            "model": self.model.state_dict(),
            "average": self._average,
            "best": self._best,
            "optimizer": self._optimizer.state_dict(),
            "order": self._order.get_state(),
            "random": torch.get_rng_state(),
            "random_of_gpu": torch.cuda.get_rng_state(self.device) if is_cuda else None,
            "losses": [*self.losses],
            "validations": {**self.validations},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.model.load_state_dict(state["model"])
        self._average = _moved(state["average"], self.device)
        self._best = _moved(state["best"], self.device)
        self._optimizer.load_state_dict(state["optimizer"])
        self._order.set_state(state["order"].cpu())
        torch.set_rng_state(state["random"].cpu())
        if state["random_of_gpu"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_of_gpu"].cpu(), self.device)
        self.losses = [*state["losses"]]
        self.validations = {**state["validations"]}


FieldLosses = dict[tuple[str, str], Tensor]
"""A loss for each field, by its group and name."""


def field_losses(predicted: Mapping[str, Mapping[str, Tensor]], batch: Batch) -> FieldLosses:
    """Return the mean squared error of each field, over samples that have points there.

    Each of these samples counts alike, however many points it has; padding does not count.
    """
    losses: FieldLosses = {}
    for group, fields in batch.fields.items():
        if not batch.n_present[group]:
            continue
        for name, true in fields.items():
            values = predicted[group][name].float()
            real = None if batch.real is None else batch.real[group]
            losses[group, name] = _mean_squared_error(values, true, real)
    return losses


def _mean_squared_error(values: Tensor, true: Tensor, real: Tensor | None) -> Tensor:
    if real is None:
        return nn.functional.mse_loss(values, true)
    errors = torch.where(real[..., None], values - true, 0.0)
    counts = real.sum(dim=1)
    means = errors.square().mean(dim=-1).sum(dim=1) / counts.clamp(min=1)
    return means.sum() / (counts > 0).sum()


def learning_rate_factor(step: int, config: TrainingConfig) -> float:
    """Return the learning rate at a step over the highest one.

    It rises along a line and falls along a cosine (Loshchilov & Hutter, 2017).
    """
    warm = round(config.warmup * config.steps)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, config.steps - warm)))


def _named_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield each parameter by all of its names, as a state dict has them."""
    return model.named_parameters(remove_duplicate=False)


def _copied(weights: Mapping[str, Any]) -> Weights:
    """Return a copy of a state dict, in which there may be more than tensors."""
    return {
        name: value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in weights.items()
    }


def _moved(weights: Weights | None, device: torch.device) -> Weights | None:
    """Return a copy of a state dict on a device."""
    if weights is None:
        return None
    return {
        name: value.to(device, copy=True) if isinstance(value, Tensor) else value
        for name, value in weights.items()
    }
