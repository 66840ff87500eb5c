"""The process that holds the model of one row: it computes when it is asked to, and measures.

``python -m noether_plugins.comparison.worker`` takes orders as `serving` has them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from noether_core import structure
from noether_core.building import make_task
from noether_core.tasks import Layout, Sample, Task
from noether_plugins.comparison.busy import Watch
from noether_plugins.comparison.points import proportional, random_features
from noether_plugins.comparison.same_models import same_models
from noether_plugins.comparison.serving import serve
from noether_plugins.workbench.data import Cases, prepare, split
from noether_plugins.workbench.devices import device_named
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.memory import allowed_memory, is_out_of_memory, peak_of
from noether_plugins.workbench.model import PointTransformer
from noether_plugins.workbench.training import Trainer

_WARM_UP = 3
"""Steps before the first that counts: caches are filled, and the optimizer makes its moments."""

_FOREVER = 10**9
"""Steps of the training: its learning rate stays so small that nothing is learnt."""

Answer = dict[str, Any]
"""What is written for an order."""


class Bench:
    """The model of a row, and a trainer with a batch of the task.

    Args:
        experiment: What is run.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.device = device_named(experiment.training.device, "training.device")
        task = FewSamples(experiment)
        torch.manual_seed(experiment.seed)
        self._model = PointTransformer(experiment.attention, experiment.model, task.layout)
        self._model.to(self.device)
        data = prepare(
            task,
            validation=0.0,
            seed=experiment.seed,
            device=self.device,
            memory=allowed_memory(experiment) // 4,
        )
        self._layout, self._cases = task.layout, data.train
        config = attrs.evolve(
            experiment.training,
            steps=_FOREVER,
            warmup=1.0,
            validation=0.0,
            batch_size=min(experiment.training.batch_size, len(data.train)),
            accumulate=min(experiment.training.accumulate, len(data.train)),
        )
        self._memory = allowed_memory(experiment)
        self._precision = experiment.training.precision
        self._trainer = Trainer(self._model, data, config, seed=experiment.seed)

    def warm_up(self) -> Answer:
        """Do the first steps; return what is known then.

        These are the points of a batch, the seconds of the last step, and the bytes that the
        experiment may take.
        """
        sizes = [self._cases.get(row, step=1).sizes for row in range(len(self._cases))]
        for _ in range(_WARM_UP):
            start = time.perf_counter()
            self._trainer.step()
            self._synchronise()
            seconds = time.perf_counter() - start
        return {"tokens": sum(map(sum, sizes)), "seconds": seconds, "memory": self._memory}

    def step(self, calls: int) -> Answer:
        """Time *calls* steps of the training, behind one that does not count.

        Others have computed since the last step, and caches hold what they left there.
        """
        self._trainer.step()
        self._synchronise()
        with Watch() as watch:
            for _ in range(calls):
                self._trainer.step()
            self._synchronise()
        return _answer(watch, calls)

    def scale(self, tokens: int, calls: int, *, memory: bool) -> Answer:
        """Time *calls* times forward and backward of random points, or measure their memory."""
        features = random_features(
            self._layout, self._sizes(tokens), torch.float32, seed=tokens, device=self.device
        )
        try:
            if memory:
                with Watch() as watch, peak_of(self.device) as peak:
                    self._forward_and_backward(features)
                return {**_answer(watch, 1), "bytes": peak.bytes}
            with Watch() as watch:
                for _ in range(calls):
                    self._forward_and_backward(features)
                self._synchronise()
        except Exception as error:
            self._model.zero_grad(set_to_none=True)
            if is_out_of_memory(error):
                return {"is_too_large": True}
            raise
        return _answer(watch, calls)

    def _forward_and_backward(self, features: Mapping[str, Tensor]) -> None:
        self._model.train()
        with self._autocast():
            predicted = self._model(features)
        losses = [
            values.float().square().mean()
            for fields in predicted.values()
            for values in fields.values()
        ]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        self._model.zero_grad(set_to_none=True)

    def _autocast(self) -> AbstractContextManager[object]:
        if self._precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _sizes(self, tokens: int) -> dict[str, int]:
        """Return so many points in groups of the proportions that those of a sample have."""
        return proportional(sizes_of(self._cases), tokens)

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class FewSamples(Task):
    """As many samples of an experiment's task as one batch has, and one that is held out.

    Args:
        experiment: The experiment.
    """

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment.task, seed=experiment.seed)
        self._task = make_task(experiment.task, seed=experiment.seed)
        numbers, _ = split(len(self._task.train), experiment.training.validation, experiment.seed)
        self._numbers = [*numbers[: experiment.training.batch_size]]

    @property
    def layout(self) -> Layout:
        """That of the task."""
        return self._task.layout

    @cached_property
    def train(self) -> Sequence[Sample]:
        """Those of a batch."""
        return [self._task.train[number] for number in self._numbers]

    @property
    def test(self) -> Sequence[Sample]:
        """The first to learn from, which is made already: nothing is tested on it."""
        return self.train[:1]

    @property
    def is_drawn(self) -> bool:
        """As the task says."""
        return self._task.is_drawn

    def draw(self, number: int, rng: np.random.Generator) -> Sample:
        """Draw as the task does."""
        return self._task.draw(self._numbers[number], rng)


def sizes_of(cases: Cases) -> dict[str, int]:
    """Return the points of each group, of all cases together."""
    sizes: dict[str, int] = {}
    for row in range(len(cases)):
        for group, points in cases.get(row, step=1).features.items():
            sizes[group] = sizes.get(group, 0) + len(points)
    return sizes


def _answer(watch: Watch, calls: int) -> Answer:
    return {
        "seconds": watch.seconds / calls,
        "waited": watch.waited,
        "processor": watch.processor,
    }


def _same(experiments: Sequence[Experiment]) -> Answer:
    """Return which experiments are one computation, as lists of their numbers."""
    task = FewSamples(experiments[0])
    sizes: dict[str, int] = {}
    for group in task.layout.groups:
        sizes[group] = sum(len(sample.groups[group]) for sample in task.train)
    return {"same": same_models(experiments, task.layout, sizes)}


class _Orders:
    """What this process can be asked for, by the names of its methods."""

    def __init__(self) -> None:
        self._bench: Bench | None = None

    def same(self, experiments: Sequence[Any]) -> Answer:
        """Return which experiments are one computation."""
        return _same([structure(each, Experiment) for each in experiments])

    def start(self, experiment: Any) -> Answer:
        """Make the model of an experiment, and do its first steps."""
        self._bench = Bench(structure(experiment, Experiment))
        return self._bench.warm_up()

    def step(self, calls: int) -> Answer:
        """Time steps."""
        return self._started.step(calls)

    def scale(self, tokens: int, calls: int, *, memory: bool) -> Answer:
        """Time, or measure the memory of, so many tokens."""
        return self._started.scale(tokens, calls, memory=memory)

    @property
    def _started(self) -> Bench:
        if self._bench is None:
            raise RuntimeError("not started")
        return self._bench


def main() -> None:
    """Carry out orders until there are no more."""
    orders = _Orders()
    serve(lambda name, arguments: getattr(orders, name)(**arguments))


if __name__ == "__main__":
    main()
