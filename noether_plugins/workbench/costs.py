"""What the model of an experiment takes with any number of tokens, counted without making them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import torch
from torch import nn

from noether_core.building import make_task
from noether_core.costs import Costs
from noether_core.counting import Rehearsal, count
from noether_core.tasks import Layout, Task
from noether_plugins.workbench.data import Case, Cases, Data
from noether_plugins.workbench.experiment import Experiment, check_fits
from noether_plugins.workbench.model import PointTransformer, n_features
from noether_plugins.workbench.training import Trainer
from noether_plugins.workbench.units import Units

_MOMENTS = 2
"""Numbers that AdamW keeps of each parameter; of each tensor it counts the steps too."""


def costs_of(experiment: Experiment, tokens: Sequence[int]) -> Costs:
    """Return what the model of an experiment takes, for some numbers of tokens in a sample.

    No sample is made: the layout of the task says what there is of each point. Forward is one
    sample; a step of the training is all samples of a batch, in the parts and the precision that
    the experiment says, and holds gradients and what the optimizer keeps beside the activations.

    Raises:
        NoetherError: If the task cannot be made, or the attention is one for other points.
    """
    task = make_task(experiment.task, seed=experiment.seed)
    layout = task.layout
    check_fits(experiment, layout)
    calls = _Calls(experiment, task)
    groups = ", ".join(layout.groups)
    training = experiment.training
    basis = (
        f"the whole model on a CPU; forward: one sample, training step: {training.batch_size} "
        f"samples in {training.precision}, with gradients and what AdamW keeps; tokens of a sample "
        f"are dealt evenly to {groups}"
    )
    rehearsal = Rehearsal(
        lambda: PointTransformer(experiment.attention, experiment.model, layout),
        forward=calls.forward,
        training=calls.training,
        basis=basis,
        samples=training.batch_size,
    )
    counted = count(rehearsal, tokens)
    return attrs.evolve(counted, counts=tuple(_with_kept(counted, experiment)))


def _with_kept(counted: Costs, experiment: Experiment) -> Iterator[Any]:
    """Yield counts, those of training with what is kept from step to step."""
    copies = _MOMENTS + (experiment.training.ema is not None)
    kept = copies * (counted.parameter_bytes or 0)
    for each in counted.counts:
        if each.part == "training" and each.bytes is not None:
            yield attrs.evolve(each, bytes=each.bytes + kept)
        else:
            yield each


class _Calls:
    """Calls of a model that are counted."""

    def __init__(self, experiment: Experiment, task: Task) -> None:
        self._experiment = experiment
        self._task = task

    def forward(self, model: nn.Module, tokens: int) -> Callable[[], object]:
        """Return the evaluation of one sample."""
        model.eval()
        features = {
            group: values[None]
            for group, values in _case(self._task.layout, tokens).features.items()
        }

        def call() -> object:
            with torch.no_grad():
                return model(features)

        return call

    def training(self, model: nn.Module, tokens: int) -> Callable[[], object]:
        """Return the gradients of one step of the training."""
        if not isinstance(model, PointTransformer):
            raise TypeError(type(model).__name__)
        config, seed = self._experiment.training, self._experiment.seed
        units = Units(self._task.layout, {})
        numbers = range(config.batch_size)
        kept = {number: _case(self._task.layout, tokens) for number in numbers}
        cases = Cases(self._task, units, numbers, seed, torch.device("cpu"), kept)
        data = Data(units, cases, None, tokens)
        plain = attrs.evolve(config, ema=None, compile=False)  # which change no gradients
        trainer = Trainer(model, data, plain, seed=seed)
        return lambda: trainer.add_gradients([*kept.values()], model)


def _case(layout: Layout, tokens: int) -> Case:
    """Return a sample of so many points, dealt evenly to the groups."""
    share, rest = divmod(tokens, len(layout.groups))
    features: dict[str, torch.Tensor] = {}
    fields: dict[str, dict[str, torch.Tensor]] = {}
    for number, (group, own) in enumerate(layout.groups.items()):
        points = share + (number < rest)
        features[group] = torch.rand(points, n_features(layout, group))
        fields[group] = {name: torch.rand(points, each.width) for name, each in own.fields.items()}
    return Case(features, fields)
