"""Predictions for files: each is read, predicted and written, whatever becomes of the others."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np

from noether_core import NoetherError
from noether_core.atomic_writes import lock_folder, write_whole
from noether_core.quoting import visible
from noether_core.tasks import Fields, Sample
from noether_plugins.workbench.devices import device_named
from noether_plugins.workbench.memory import is_out_of_memory
from noether_plugins.workbench.messages import say, say_result
from noether_plugins.workbench.outputs import OutputError
from noether_plugins.workbench.saved import Run, load_run
from noether_plugins.workbench.signals import Terminated, caught_signals

METRICS: Final = "metrics.json"

_STAGE: Final = ".predict-{}.noether.part"

Metrics = dict[str, float | None]
"""Relative errors by field, ``group.field``; None where the truth is 0 everywhere."""


class PredictionError(NoetherError, RuntimeError):
    """The predictions for a file cannot be had, or not be written."""


@attrs.frozen
class Order:
    """What is to be predicted, and where to."""

    files: tuple[Path, ...]
    """Files of samples, as the task of the run reads them."""

    output: Path
    """The folder of the predictions."""

    overwrite: bool = False
    """Whether files that are there may be replaced; the files of samples never are."""

    with_metrics: bool = False
    """Whether relative errors are computed where a file has the truth."""

    at_once: int | None = None
    """Most points of a group that the model sees together; None for as many as a step of the
    training saw.
    """


def predict_files(folder: str, order: Order, *, device: str) -> int:
    """Predict for each file with what a run has learnt; return the exit status.

    Args:
        folder: The folder of the run.
        order: The files, and where predictions go.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        OutputError: If two files would have their predictions in one, or the folder for them
            cannot be written to.
        SavedModuleError: If there is no finished run, or it is damaged.
        DeviceError: If the device is not there.
    """
    with caught_signals():
        try:
            return _predict_files(folder, order, device)
        except Terminated as end:
            return end.status


def _predict_files(folder: str, order: Order, device: str) -> int:
    _check_names(order)
    run = load_run(folder, device=device_named(device, "--device"))
    metrics: dict[str, Metrics] = {}
    faults: list[str] = []
    written: set[Path] = set()
    with _made(order.output):
        for file in order.files:
            try:
                metrics[str(file)] = _predict_file(run, file, order, written)
            except Exception as error:  # noqa: BLE001  the other files have done nothing wrong
                faults.append(_fault(file, error))
        if order.with_metrics:
            _write_metrics(metrics, order)
    for fault in faults:
        say(visible(fault))
    return 1 if faults else 0


def _check_names(order: Order) -> None:
    """Refuse files whose predictions would be one file, before any work."""
    first: dict[str, Path] = {}
    for file in order.files:
        other = first.setdefault(file.name, file)
        if other is not file:
            raise OutputError(
                f"{other} and {file} would both be written to {order.output / file.name}; "
                "predict them into two folders"
            )
    if order.with_metrics and (order.output / METRICS).exists() and not order.overwrite:
        remedy = "name another folder with --output, or say --overwrite"
        raise OutputError(f"{order.output / METRICS}: is there already; {remedy}")


def _fault(file: Path, error: Exception) -> str:
    if is_out_of_memory(error):
        return f"{file}: does not fit into memory as a whole; predict it in parts with --at-once N"
    text = " ".join(str(error).split())
    if not isinstance(error, NoetherError | OSError):
        text = f"{type(error).__name__}: {text}"
    return text if text.startswith(str(file)) else f"{file}: {text}"


@contextmanager
def _made(output: Path) -> Iterator[None]:
    """Make the folder of the predictions, and remove it again if there are none.

    Raises:
        OutputError: If it cannot be made.
    """
    was_there = output.is_dir()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: cannot be made: {error.strerror}") from error
    _remove_leftovers(output)
    try:
        yield
    finally:
        if not was_there:
            with suppress(OSError):
                output.rmdir()


def _predict_file(run: Run, file: Path, order: Order, written: set[Path]) -> Metrics:
    """Predict for one file; return the relative errors of the fields that it has."""
    target = order.output / file.name
    if target.exists():
        _check_replaceable(target, order, written)
    sample = run.task.read(file, run.layout)
    at_once = order.at_once or run.result.get("points_at_once")
    predicted = run.predict(sample, at_once=at_once)

    with _stage(order.output) as stage:
        made = run.task.write(file, predicted, stage)
        targets = {each: order.output / each.relative_to(stage) for each in made}
        for target in targets.values():
            if target.exists():
                _check_replaceable(target, order, written)
        for each, target in targets.items():
            each.replace(target)
            written.add(target)
    say_result(visible(f"{file}: {', '.join(map(str, targets.values()))}"))
    errors = relative_errors(sample, predicted) if order.with_metrics else {}
    for name, error in errors.items():
        say_result(visible(f"  {name}: {'0 everywhere' if error is None else f'{error:.4f}'}"))
    return errors


def _check_replaceable(target: Path, order: Order, written: set[Path]) -> None:
    """Refuse to write over a file that must stay.

    Raises:
        PredictionError: If it is one of the samples, or was there before and may not be replaced.
    """
    if any(file.exists() and target.samefile(file) for file in order.files):
        raise PredictionError(f"{target}: is a file to predict for; name another folder")
    if target in written:
        raise PredictionError(f"{target}: holds the predictions for another file already")
    if not order.overwrite:
        raise PredictionError(
            f"{target}: is there already; name another folder with --output, or say --overwrite"
        )


@contextmanager
def _stage(output: Path) -> Iterator[Path]:
    """Yield a hidden folder beside the predictions, which is gone when the block ends."""
    stage = output / _STAGE.format(os.urandom(8).hex())
    stage.mkdir()
    handle = lock_folder(stage)
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _remove_leftovers(output: Path) -> None:
    """Remove what killed processes left."""
    for stage in output.glob(_STAGE.format("*")):
        with suppress(OSError):
            handle = lock_folder(stage)
            if handle is not None:
                shutil.rmtree(stage, ignore_errors=True)
                os.close(handle)


def relative_errors(sample: Sample, predicted: Fields) -> Metrics:
    """Return ``|prediction - truth| / |truth|`` of each field that a sample has the truth of."""
    errors: Metrics = {}
    for group, fields in predicted.items():
        for name, values in fields.items():
            true = sample.groups[group].fields.get(name)
            if true is None or not len(true):
                continue
            size = float(np.linalg.norm(true.astype(np.float64)))
            distance = float(np.linalg.norm(values - true))
            errors[f"{group}.{name}"] = distance / size if size else None
    return errors


def _write_metrics(metrics: Mapping[str, Metrics], order: Order) -> None:
    """Write the errors of each file, and their means over the files; print these."""
    by_field: dict[str, list[float]] = {}
    for errors in metrics.values():
        for name, error in errors.items():
            if error is not None:
                by_field.setdefault(name, []).append(error)
    means = {name: float(np.mean(errors)) for name, errors in by_field.items()}
    content: dict[str, Any] = {"relative_errors": means, "files": dict(metrics)}
    write_whole(order.output / METRICS, json.dumps(content, indent=2) + "\n")
    for name, mean in means.items():
        count = len(by_field[name])
        files = "1 file" if count == 1 else f"{count} files"
        say_result(visible(f"{name}: relative L2 error {mean:.4f} over {files}"))
    if not means:
        say_result("no file has the truth of a field")


def order_of(files: Sequence[str], output: str, **options: Any) -> Order:
    """Return an order, of names as the command line has them."""
    return Order(tuple(map(Path, files)), Path(output), **options)
