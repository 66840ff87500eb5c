"""What the model of an experiment takes with any number of tokens, counted without making them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import torch
from torch import nn

from noether_core.building import make_task
from noether_core.costs import Costs, Count
from noether_core.counting import TOO_MANY, Rehearsal, count
from noether_core.tasks import Layout, Task
from noether_plugins.workbench.data import Case, Cases, Data
from noether_plugins.workbench.experiment import Experiment, check_fits
from noether_plugins.workbench.model import PointTransformer, n_features
from noether_plugins.workbench.training import Trainer
from noether_plugins.workbench.units import Units

_FEW_BLOCKS = 4
"""Blocks up to which a model is counted as a whole."""

_PROOF = 4_096
"""Tokens at which a third block has to take what the second does."""

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
    counter = _Blocks(experiment, layout, calls, basis)
    counted = counter.count(tokens)
    return attrs.evolve(counted, counts=tuple(_with_kept(counted, experiment)))


class _Blocks:
    """Counts a model as a whole, or where that is too much by its blocks, which are all alike."""

    def __init__(self, experiment: Experiment, layout: Layout, calls: _Calls, basis: str) -> None:
        self._experiment, self._layout = experiment, layout
        self._calls, self._basis = calls, basis

    def count(self, tokens: Sequence[int]) -> Costs:
        """Return what the model takes for each number of tokens."""
        depth = self._experiment.model.depth
        if depth <= _FEW_BLOCKS:
            return count(self._rehearsal(depth), tokens)
        whole = count(self._rehearsal(depth), tokens, may_fit=False)
        left = [each.tokens for each in whole.counts if each.detail.endswith(TOO_MANY)]
        if not left:
            return whole
        by_blocks = self._by_blocks(sorted({*left}), depth)
        counts = [
            by_blocks.get((each.tokens, each.part), each)
            if each.detail.endswith(TOO_MANY)
            else each
            for each in whole.counts
        ]
        return attrs.evolve(whole, counts=tuple(counts))

    def _rehearsal(self, depth: int) -> Rehearsal:
        experiment, layout = self._experiment, self._layout
        model = attrs.evolve(experiment.model, depth=depth)
        return Rehearsal(
            lambda: PointTransformer(experiment.attention, model, layout),
            forward=self._calls.forward,
            training=self._calls.training,
            basis=self._basis,
            samples=experiment.training.batch_size,
        )

    def _by_blocks(self, tokens: Sequence[int], depth: int) -> dict[tuple[int, str], Count]:
        """Return counts of *depth* blocks from those of one and of two.

        Where a third at few tokens is not as the second there, or one is not counted, there is
        none.
        """
        proofs = [count(self._rehearsal(few), [_PROOF]).counts for few in (1, 2, 3)]
        alike = {
            first.part
            for first, second, third in zip(*proofs, strict=True)
            if (third.operations, third.bytes) == _further(first, second, 3)
        }
        one, two = (count(self._rehearsal(few), tokens).counts for few in (1, 2))
        found: dict[tuple[int, str], Count] = {}
        for first, second in zip(one, two, strict=True):
            operations, held = _further(first, second, depth)
            if first.part in alike and operations is not None:
                detail = f"from counts with 1 and 2 of the {depth} blocks, which are alike"
                if second.detail:
                    detail += f", each {second.detail}"
                found[first.tokens, first.part] = attrs.evolve(
                    second, operations=operations, bytes=held, how="fitted", detail=detail
                )
        return found


def _further(first: Count, second: Count, depth: int) -> tuple[Any, Any]:
    """Return operations and bytes of more blocks than two, each as much more as the second."""
    if None in (first.operations, second.operations, first.bytes, second.bytes):
        return None, None
    one = first.operations, first.bytes
    two = second.operations, second.bytes
    return tuple(a + (depth - 1) * (b - a) for a, b in zip(one, two, strict=True))  # type: ignore[operator, return-value]


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
