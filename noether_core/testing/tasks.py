"""Checks of a task: that its samples are what its layout says, and the same whenever made."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from noether_core.building import make_task
from noether_core.errors import NoetherError
from noether_core.plugins.metadata import Index
from noether_core.plugins.registry import Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.schemas.frozen_mapping import EMPTY
from noether_core.schemas.schema import Schema
from noether_core.schemas.unstructure import unstructure
from noether_core.structuring.structure import structure
from noether_core.task_record import TaskRecord
from noether_core.tasks import Layout, Sample, Task, TaskError, check_sample
from noether_core.testing.contract import CheckFailed

_MOST_SAMPLES = 16
"""Samples of each part that are looked at: making one may take long."""

_LONGEST = 1.0
"""Seconds of processor that a constructor may take, which is to make no sample."""

_PNG = b"\x89PNG\r\n"


def check_task(
    source: str | TaskRecord,
    *,
    options: Mapping[str, Any] = EMPTY,
    varies: bool = True,
    file: str | Path | None = None,
    registry: Registry | None = None,
) -> None:
    """Check that a task keeps what tasks promise.

    The task of the record's example is made several times. Its layout is plain data, its samples
    conform to it, equal seeds give equal samples, no held-out sample is one to learn from, and
    files give back what was written.

    Args:
        source: A type, bare or as ``distribution:type``, or the record of a task.
        options: Options that go before those of the example.
        varies: Whether another seed gives other samples; False where they come from files.
        file: A file that the task reads; None where it reads none, which is checked as well.
        registry: Where types are looked up; the process-wide one where it is None.

    Raises:
        CheckFailed: If the task breaks any of it; the message has everything that it breaks.
        UnknownTypeError: If no installed package provides the type.
        PluginError: If the package that does cannot be used.
    """
    subject = _subject_of(source, options, registry)
    failures: list[str] = []
    for check in (_construction, _layout, _samples, _seeds, _split, _drawing, _picture, _missing):
        failures += _failures_of(check, subject)
    if varies:
        failures += _failures_of(_other_seeds, subject)
    if file is not None:
        failures += _failures_of(lambda of: _files(of, Path(file)), subject)
    if failures:
        raise CheckFailed("\n".join(failures))


class _Subject:
    """A task that is made anew for each check, and once for those that only look."""

    def __init__(self, config: Schema, registry: Registry) -> None:
        self.config = config
        self._registry = registry
        self._task: Task | None = None

    def made(self, seed: int) -> Task:
        return make_task(self.config, seed=seed, registry=self._registry)  # type: ignore[arg-type]

    @property
    def task(self) -> Task:
        if self._task is None:
            self._task = self.made(seed=0)
        return self._task


def _subject_of(
    source: str | TaskRecord, options: Mapping[str, Any], registry: Registry | None
) -> _Subject:
    known = default_registry() if registry is None else registry
    if isinstance(source, TaskRecord):
        record, name = source, source.type
        known = Registry(index=Index((), (), ()))
        known.register(source)
    else:
        record, name = known.tasks.get(source), source
    config = structure({**record.example, **options, "type": name}, record.config, registry=known)
    return _Subject(config, known)


def _failures_of(check: Callable[[_Subject], Iterator[str]], subject: _Subject) -> Iterator[str]:
    """Yield what a check finds, and what the task raises in it."""
    try:
        yield from check(subject)
    except NoetherError as error:
        yield str(error)
    except Exception as error:  # noqa: BLE001  whatever the task raises is what is wrong with it
        yield f"{check.__name__.strip('_<>')}: raises {type(error).__name__}: {error}"


def _construction(subject: _Subject) -> Iterator[str]:
    subject.made(seed=0)  # imports what it needs
    start = time.process_time()
    subject.made(seed=0)
    seconds = time.process_time() - start
    if seconds > _LONGEST:
        yield (
            f"constructor: takes {seconds:.1f} s; make samples when train or test is first looked "
            "at: a trained model predicts without them"
        )


def _layout(subject: _Subject) -> Iterator[str]:
    layout = subject.task.layout
    if structure(unstructure(layout), Layout) != layout:
        yield "layout: is another one once it was written and read"
    if subject.made(seed=1).layout != layout:
        yield "layout: is another one for another seed, so that a model would not fit"


def _samples(subject: _Subject) -> Iterator[str]:
    task = subject.task
    for part, samples in (("train", task.train), ("test", task.test)):
        if not len(samples):
            yield f"{part}: has no samples"
        for sample in _some(samples):
            try:
                check_sample(sample, task.layout)
            except TaskError as error:
                yield f"{part}: {error}"


def _seeds(subject: _Subject) -> Iterator[str]:
    again = subject.made(seed=0)
    for part in ("train", "test"):
        first, second = (_digests(getattr(task, part)) for task in (subject.task, again))
        if first != second:
            yield f"{part}: the same seed gives other samples"
    if _digests(again.train) != _digests(again.train):
        yield "train: samples are others when they are looked at again"


def _other_seeds(subject: _Subject) -> Iterator[str]:
    if set(_digests(subject.task.train)) & set(_digests(subject.made(seed=1).train)):
        yield "train: another seed gives samples that are the same; say varies=False if that is so"


def _split(subject: _Subject) -> Iterator[str]:
    task = subject.task
    train, test = _digests(task.train), _digests(task.test)
    if set(train) & set(test):
        yield "test: has a sample that is one to learn from"
    names = [sample.name for samples in (task.train, task.test) for sample in _some(samples)]
    if len(set(names)) < len(names):
        yield "samples: several have one name"


def _drawing(subject: _Subject) -> Iterator[str]:
    task = subject.task
    one, same = (task.draw(0, np.random.default_rng(5)) for _ in range(2))
    try:
        check_sample(one, task.layout)
    except TaskError as error:
        yield f"draw: {error}"
    if _digest(one) != _digest(same):
        yield "draw: generators of one state give other samples; draw from the one it is handed"


def _picture(subject: _Subject) -> Iterator[str]:
    def truth(sample: Sample) -> Mapping[str, Any]:
        return {name: points.fields for name, points in sample.groups.items()}

    try:
        picture = subject.task.picture(truth)
    except ImportError:  # what draws is not installed
        return
    if picture is not None and not picture.startswith(_PNG):
        yield "picture: is no PNG"


def _missing(subject: _Subject) -> Iterator[str]:
    nowhere = Path("no-such-file.txt")
    try:
        subject.task.read(nowhere, subject.task.layout)
    except TaskError as error:
        if nowhere.name not in str(error):
            yield f"read: does not name the file that it cannot read: {error}"
    except Exception as error:  # noqa: BLE001  likewise
        yield f"read: raises {type(error).__name__} for a file that is not there, and no TaskError"
    else:
        yield "read: returns a sample for a file that is not there"


def _files(subject: _Subject, file: Path) -> Iterator[str]:
    task = subject.task
    sample = task.read(file, task.layout)
    check_sample(sample, task.layout, with_fields=False)

    predicted = _some_fields(sample, task.layout)
    with tempfile.TemporaryDirectory() as folder:
        written = task.write(file, predicted, Path(folder))
        left = sorted(path.name for path in Path(folder).iterdir())
        if sorted(path.name for path in written) != left:
            yield f"write: leaves {', '.join(left) or 'nothing'}, and returns other files"
            return
        again = task.read(written[0], task.layout)

    check_sample(again, task.layout)
    for name, points in again.groups.items():
        if not np.allclose(points.positions, sample.groups[name].positions):
            yield f"write: {name} has other positions in the new file"
        for field, values in points.fields.items():
            if not np.allclose(values, predicted[name][field], rtol=1e-4):
                yield f"write: {name}.{field} has other values in the new file"


def _some_fields(sample: Sample, layout: Layout) -> dict[str, dict[str, Any]]:
    """Return numbers for each field of a sample that is not the truth."""
    rng = np.random.default_rng(7)
    fields: dict[str, dict[str, Any]] = {}
    for name, group in layout.groups.items():
        count = len(sample.groups[name])
        fields[name] = {
            field: rng.normal(size=(count, quantity.width))
            for field, quantity in group.fields.items()
        }
    return fields


def _some(samples: Any) -> list[Sample]:
    return list(itertools.islice(samples, _MOST_SAMPLES))


def _digests(samples: Any) -> list[str]:
    return [_digest(sample) for sample in _some(samples)]


def _digest(sample: Sample) -> str:
    """Return a hash of all numbers of a sample; its name is none."""
    found = hashlib.sha256()
    for group in sorted(sample.groups):
        points = sample.groups[group]
        found.update(np.ascontiguousarray(points.positions).tobytes())
        for values in (points.inputs, points.fields):
            for name in sorted(values):
                found.update(np.ascontiguousarray(values[name]).tobytes())
    for name in sorted(sample.inputs):
        found.update(np.ascontiguousarray(sample.inputs[name]).tobytes())
    return found.hexdigest()
