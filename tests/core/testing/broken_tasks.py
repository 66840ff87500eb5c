"""A sound task, and tasks that each break one thing that tasks promise."""

from __future__ import annotations

import json
import time
from typing import Annotated, Literal

import attrs
import numpy as np
from annotated_types import Ge

from noether_core import TaskRecord
from noether_core.schemas.task import TaskConfig
from noether_core.tasks import (
    GroupLayout,
    Layout,
    Points,
    Quantity,
    Sample,
    Task,
    TaskError,
)


@attrs.frozen(kw_only=True)
class CloudConfig(TaskConfig):
    """Clouds of points, and twice their first coordinate."""

    type: Literal["cloud"] = "cloud"

    n_train: Annotated[int, Ge(1)]


class Sound(Task):
    """What `check_task` finds nothing wrong with."""

    @property
    def layout(self):
        return Layout(
            coordinates=2,
            groups={"cloud": GroupLayout(fields={"double": Quantity(unit="m")})},
            inputs={"seed": Quantity()},
        )

    @property
    def train(self):
        return [self.made(f"train_{number}", number) for number in range(self.config.n_train)]

    @property
    def test(self):
        return [self.made(f"test_{number}", 100 + number) for number in range(2)]

    def made(self, name, number):
        rng = np.random.default_rng((self.seed, number))
        positions = rng.random((7 + number % 3, 2))
        return cloud(name, positions, fields={"double": 2 * positions[:, :1]})

    def read(self, file, layout):
        try:
            data = json.loads(file.read_text())
        except OSError as error:
            raise TaskError(f"{file}: {error.strerror}") from error
        fields = {"double": np.array(data["double"])} if "double" in data else {}
        return cloud(file.stem, np.array(data["positions"]), fields)

    def write(self, file, predicted, folder):
        data = json.loads(file.read_text())
        data["double"] = predicted["cloud"]["double"].tolist()
        (folder / file.name).write_text(json.dumps(data))
        return (folder / file.name,)


def cloud(name, positions, fields):
    groups = {"cloud": Points(positions=positions, fields=fields)}
    return Sample(name=name, groups=groups, inputs={"seed": np.zeros(1)})


class SlowToMake(Sound):
    def __init__(self, config, *, seed):
        super().__init__(config, seed=seed)
        until = time.process_time() + 0.03
        while time.process_time() < until:
            pass


class LayoutOfTheSeed(Sound):
    @property
    def layout(self):
        return attrs.evolve(super().layout, coordinates=2 + self.seed % 2)


class Misshapen(Sound):
    def made(self, name, number):
        positions = np.zeros((5, 3))
        return cloud(name, positions, fields={"double": positions[:, :1]})


class NotFinite(Sound):
    def made(self, name, number):
        positions = np.random.default_rng((self.seed, number)).random((5, 2))
        return cloud(name, positions, fields={"double": np.full((5, 1), np.nan)})


class WithoutTest(Sound):
    @property
    def test(self):
        return []


class Unseeded(Sound):
    def made(self, name, number):
        positions = np.random.random((5, 2))
        return cloud(name, positions, fields={"double": positions[:, :1]})


class DeafToItsSeed(Sound):
    def __init__(self, config, *, seed):
        super().__init__(config, seed=0)


class Leaking(Sound):
    @property
    def test(self):
        return [attrs.evolve(self.train[0], name="test_0")]


class Namesakes(Sound):
    def made(self, name, number):
        return attrs.evolve(super().made(name, number), name="cloud")


class DrawsByItself(Sound):
    def draw(self, number, rng):
        return self.made("drawn", np.random.default_rng().integers(1000))


class NoPicture(Sound):
    def picture(self, predict):
        return b"<svg/>"


class ReadsAnything(Sound):
    def read(self, file, layout):
        return self.train[0]


class LetsErrorsOut(Sound):
    def read(self, file, layout):
        return cloud(file.stem, np.array(json.loads(file.read_text())["positions"]), {})


class WritesNothing(Sound):
    def write(self, file, predicted, folder):
        return (folder / file.name,)


class WritesTheTruth(Sound):
    def write(self, file, predicted, folder):
        data = json.loads(file.read_text())
        data["double"] = [[2 * x] for x, _ in data["positions"]]
        (folder / file.name).write_text(json.dumps(data))
        return (folder / file.name,)


class Raising(Sound):
    def draw(self, number, rng):
        raise ZeroDivisionError("no points")


class Exits(Sound):
    def __init__(self, config, *, seed):
        raise SystemExit(3)


class NoTask:
    def __init__(self, config, *, seed):
        self.config = config


BROKEN = {
    "SlowToMake": "constructor: takes 0.0 s; make samples when",
    "LayoutOfTheSeed": "layout: is another one for another seed",
    "Misshapen": "train: sample 'train_0': cloud.positions: shape (5, 3), expected (points, 2)",
    "NotFinite": "test: sample 'test_0': cloud.fields.double: 5 of 5 values are not finite",
    "WithoutTest": "test: has no samples",
    "Unseeded": "train: the same seed gives other samples",
    "DeafToItsSeed": "train: another seed gives samples that are the same",
    "Leaking": "test: has a sample that is one to learn from",
    "Namesakes": "samples: several have one name",
    "DrawsByItself": "draw: generators of one state give other samples",
    "NoPicture": "picture: is no PNG",
    "ReadsAnything": "read: returns a sample for a file that is not there",
    "LetsErrorsOut": "read: raises FileNotFoundError for a file that is not there",
    "WritesNothing": "write: leaves nothing, and returns other files",
    "WritesTheTruth": "write: cloud.double has other values in the new file",
    "Raising": "drawing: raises ZeroDivisionError: no points",
    "Exits": "broken_tasks:Exits cannot be made: SystemExit: 3",
    "NoTask": "broken_tasks:NoTask is no subclass of Task",
}
"""Classes of this file, and what is found wrong with each."""


def record_of(name: str) -> TaskRecord:
    """Return a record whose class is one of this file."""
    return TaskRecord(config=CloudConfig, module=f"{__name__}:{name}", example={"n_train": 3})
