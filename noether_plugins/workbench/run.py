"""One run from an experiment to its folder: samples, training, evaluation, picture."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from noether_core import NoetherError, PluginError, dump, registry, structure, unstructure
from noether_core.building import make_task
from noether_core.errors import SavedModuleError, describe_differences, path_text
from noether_core.quoting import visible_lines
from noether_core.saving.runs import RESULT, WEIGHTS, RunContents, differences_of_run
from noether_core.tasks import Fields, Sample, Task
from noether_plugins.workbench.checkpoints import read_checkpoint, write_checkpoint
from noether_plugins.workbench.data import prepare, split
from noether_plugins.workbench.devices import device_named
from noether_plugins.workbench.evaluation import Evaluation, evaluate
from noether_plugins.workbench.experiment import Experiment, check_batch, check_fits
from noether_plugins.workbench.log import Events, Log, cut
from noether_plugins.workbench.memory import (
    OutOfMemoryError,
    StepMemory,
    allowed_memory,
    check_step,
    check_weights,
    check_within,
    is_out_of_memory,
    peak_memory,
)
from noether_plugins.workbench.messages import lasting_output, say, say_result
from noether_plugins.workbench.model import PointTransformer
from noether_plugins.workbench.outputs import (
    CONFIG,
    LOG,
    PICTURE,
    OutputError,
    RunFolder,
    kept,
    latest_folder,
    new_folder,
    unwritable,
)
from noether_plugins.workbench.picture import draw
from noether_plugins.workbench.prediction import predicted_fields
from noether_plugins.workbench.progress import progress, slow_count
from noether_plugins.workbench.result import result_of, summary
from noether_plugins.workbench.saved import check_savable, contents_of_run, write_model
from noether_plugins.workbench.signals import Signals, Terminated, caught_signals
from noether_plugins.workbench.training import Trainer
from noether_plugins.workbench.trial import check_call

_INTERRUPTED = 130

_WARM_UP = 2
"""First steps of a process, which take longer: their memory is measured, and caches are filled."""

_FREE = frozenset(
    {
        ("memory_limit",),
        ("training", "checkpoint_every"),
        ("training", "device"),
        ("training", "tensorboard"),
    }
)
"""Options that may be others when a run goes on: they do not say what is computed."""

_OF_OTHERS = "attention_options"
"""What holds the options of attention that the run has not."""


class ResumeError(NoetherError, ValueError):
    """A run cannot be gone on with as it was asked for."""


@attrs.frozen
class Wish:
    """What the command line says of the folder of a run."""

    file: str
    """The file of the experiment; its name is the default name of the run."""

    output: str | None = None
    """Folder of the run; ``runs/`` and the name of *file*, numbered where it is taken, if None."""

    overwrite: bool = False
    """Whether a run that the folder holds is replaced."""

    resume: bool = False
    """Whether the run that is unfinished there is gone on with; where there is none, it starts."""


def run(experiment: Experiment, wish: Wish) -> int:
    """Train, evaluate and write a run; return the exit status.

    Ctrl-C during the training ends it there: what was learnt is evaluated and written, and the
    status is 130. SIGTERM and SIGHUP save what is needed to go on, and the status is 128 and their
    number.

    Args:
        experiment: What to run.
        wish: Where to, and what becomes of what is there.

    Raises:
        OutputError: If the folder holds another run or cannot be written to.
        ResumeError: If the experiment is another one than that of the run to go on with.
        OutOfMemoryError: If the run needs more memory than it may take.
        DeviceError: If the device that the experiment names is not there.
        DivergedError: If the loss is no longer finite.
    """
    with lasting_output(), caught_signals() as signals:
        try:
            return _run(experiment, wish, signals)
        except Terminated as end:
            return end.status
        except (MemoryError, RuntimeError, PluginError) as error:
            if isinstance(error, OutOfMemoryError) or not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                "an allocation failed; lower training.batch_size or attention.hidden_dim"
            ) from error


def _run(experiment: Experiment, wish: Wish, signals: Signals) -> int:
    device = device_named(experiment.training.device, "training.device")
    folder, is_reserved = _folder(experiment, wish)
    with kept(
        folder, overwrite=wish.overwrite, resume=wish.resume, is_reserved=is_reserved
    ) as place:
        checkpoint = None
        if wish.resume:
            if _is_complete(place, experiment):
                say_result(f"{folder}/ is complete: there is nothing to go on with")
                return 0
            checkpoint = _checkpoint(place, experiment)
            if checkpoint is None:
                place.check_free()
        work = _prepared(experiment, place, signals, device)
        work.begin(checkpoint)
        return work.finish()


def _folder(experiment: Experiment, wish: Wish) -> tuple[Path, bool]:
    """Return the folder of a run, and whether it was made for it just now."""
    if wish.output == "":
        raise OutputError("--output names no folder")
    if wish.output is not None:
        return Path(wish.output), False
    folder = Path("runs") / (Path(wish.file).stem or "run")
    if wish.overwrite:
        return folder, False
    if wish.resume:
        latest = latest_folder(folder)
        if latest is not None and not _is_over_with_another(latest, experiment):
            return latest, False
    try:
        return new_folder(folder), True
    except OSError as error:
        reason = f"{folder}: cannot be made: {error.strerror}; name a folder with --output"
        raise OutputError(reason) from error


def _is_over_with_another(folder: Path, experiment: Experiment) -> bool:
    """Return whether a folder holds a run that is over, and not of this experiment."""
    place = RunFolder(folder)
    result = place.result
    if place.checkpoint.exists() or result is None:
        return False
    return bool(differing_options(result.get("experiment"), experiment))


Checkpoint = tuple[RunContents, dict[str, Any]]
"""What a checkpoint says of its run, and the state of the training."""


def _is_complete(place: RunFolder, experiment: Experiment) -> bool:
    """Return whether the run in a folder has nothing left to do.

    Raises:
        ResumeError: If it is over, and of another experiment; or cannot be gone on with.
    """
    result = place.result
    if result is None or place.checkpoint.exists():
        return False
    _check_same(place, result.get("experiment"), experiment)
    if result.get("interrupted"):
        raise ResumeError(
            f"{place.path}: was interrupted, and its checkpoint is gone; "
            "begin anew with --overwrite, or name another folder with --output"
        )
    return True


def _checkpoint(place: RunFolder, experiment: Experiment) -> Checkpoint | None:
    """Return what to go on from; None where nothing is there.

    Raises:
        ResumeError: If it is of another experiment, or of another run than the one beside it.
        SavedModuleError: If it is damaged.
    """
    if not place.checkpoint.exists():
        return None
    try:
        contents, state = read_checkpoint(place.checkpoint)
    except SavedModuleError as error:
        remedy = "begin anew with --overwrite"
        raise SavedModuleError(error.file, f"{error.reason}; {remedy}") from error
    _check_same(place, unstructure(contents.experiment), experiment)

    result = place.result
    is_own = result is None or result.get("run") == contents.result.get("run")
    if not is_own and place.replaces != contents.result.get("replaces"):
        raise ResumeError(
            f"{place.path}: holds a run that came after the unfinished one; "
            "move one of them to another folder"
        )
    for difference in differences_of_run(contents, registry()):
        say(describe_differences(str(place.checkpoint), [difference]))
    return contents, state


def _check_same(place: RunFolder, before: Any, experiment: Experiment) -> None:
    differences = differing_options(before, experiment)
    if differences:
        listed = "\n".join(f"{path}: {was} there, {here} here" for path, was, here in differences)
        raise ResumeError(
            f"{place.path}: is a run of another experiment, so that it cannot be gone on with:\n"
            f"{listed}\nwrite what it was (the rate of learning depends on all steps), or start "
            "another run without --resume"
        )


def differing_options(before: Any, experiment: Experiment) -> list[tuple[str, str, str]]:
    """Return the options in which an experiment is another one than before, by path."""
    with suppress(NoetherError):  # options that are new since have their defaults
        before = unstructure(structure(before, Experiment))
    old, new = _leaves(before), _leaves(unstructure(experiment))
    found: list[tuple[str, str, str]] = []
    for keys in sorted(old.keys() | new.keys(), key=str):
        was, here = old.get(keys, "nothing"), new.get(keys, "nothing")
        if was != here and keys not in _FREE and keys[0] != _OF_OTHERS:
            found.append((path_text(keys), str(was), str(here)))
    return found


def _leaves(value: Any, keys: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Any]:
    """Return the values of nested data that hold no others, by their keys."""
    if isinstance(value, Mapping):
        items: Any = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return {keys: value}
    leaves: dict[tuple[Any, ...], Any] = {}
    for key, item in items:
        leaves |= _leaves(item, (*keys, key))
    return leaves


def _prepared(
    experiment: Experiment, place: RunFolder, signals: Signals, device: torch.device
) -> _Work:
    """Return a run whose samples are there, and whose training has not begun."""
    task = make_task(experiment.task, seed=experiment.seed)
    layout = task.layout
    check_fits(experiment, layout)
    check_weights(experiment, layout)
    check_call(experiment.attention, experiment.model, layout)
    chosen, _ = split(len(task.train), experiment.training.validation, experiment.seed)
    check_batch(experiment, len(chosen))
    say(f"making the samples of {experiment.task.type}")
    data = prepare(
        task,
        validation=experiment.training.validation,
        seed=experiment.seed,
        device=device,
        memory=allowed_memory(experiment) // 4,
        report=slow_count("samples"),
    )

    torch.manual_seed(experiment.seed)
    model = PointTransformer(experiment.attention, experiment.model, layout).to(device)
    check_savable(model)
    check_step(experiment, data.most_points, is_padded=model.takes_padding)
    trainer = Trainer(model, data, experiment.training, seed=experiment.seed)
    return _Work(experiment, place, signals, task, trainer)


def _are_alike(units: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Return whether units are of the same samples: those of others differ in more than digits."""
    return units.keys() == others.keys() and all(
        np.allclose(units[name], others[name], rtol=1e-6, atol=0) for name in units
    )


class _Work:
    """A run at work: its training, what it writes meanwhile, and its end."""

    def __init__(
        self,
        experiment: Experiment,
        place: RunFolder,
        signals: Signals,
        task: Task,
        trainer: Trainer,
    ) -> None:
        self._experiment = experiment
        self._place = place
        self._signals = signals
        self._task = task
        self._trainer = trainer
        self._id = os.urandom(8).hex()
        self._replaces = place.replaces
        self._seconds = 0.0
        self._steps_here = 0
        self._pace = (0, 0.0)  # steps that are like all others, and their seconds
        self._memory = StepMemory()
        self._last_warning = ""
        self._shown: Events | None = None

    def begin(self, checkpoint: Checkpoint | None) -> None:
        """Make the folder ready for what comes, and the training go on from a checkpoint.

        Raises:
            OutputError: If the folder cannot be written to.
        """
        try:
            if checkpoint is None:
                self._place.begin()
            else:
                self._go_on(*checkpoint)
        except OSError as error:
            raise unwritable(self._place.path, error) from error

    def _go_on(self, contents: RunContents, state: Mapping[str, Any]) -> None:
        if contents.layout != self._task.layout:
            raise ResumeError(
                f"{self._place.path}: the samples of the task have other groups or fields than "
                "when the run began; start another run without --resume"
            )
        if not _are_alike(self._trainer.data.units.arrays(), state["units"]):
            raise ResumeError(
                f"{self._place.path}: the samples of the task are others than when the run began; "
                "give it those, or start another run without --resume"
            )
        self._trainer.load_state(state["trainer"])
        random.setstate(state["random"])
        np.random.set_state(state["random_of_numpy"])
        self._seconds, self._memory.bytes = state["seconds"], state["step_memory"]
        self._pace = state["pace"]
        self._id = contents.result["run"]
        self._replaces = contents.result["replaces"]
        cut(self._place.unfinished / LOG, self._trainer.steps_done)
        say(f"going on behind step {self._trainer.steps_done}")

    def finish(self) -> int:
        """Train to the end, or until a signal comes; evaluate and publish; return the status."""
        with Log(self._place.unfinished / LOG) as log, self._events() as self._shown:
            self._train(log)
            try:
                with self._signals.held_back():
                    self._save(log)
            except Terminated:
                raise
            except KeyboardInterrupt:
                looks = _Looks(is_cut=True)
            else:
                looks = _Looks()
            with self._trainer.learnt() as model:
                self._look_at(model, looks)
                with self._signals.held_back():
                    result = self._publish(model, log, looks)
        return _INTERRUPTED if result["interrupted"] else 0

    @contextmanager
    def _events(self) -> Iterator[Events | None]:
        """Yield what writes for TensorBoard; None where that is not wanted or not installed."""
        if not self._experiment.training.tensorboard:
            yield None
            return
        if not Events.is_installed():
            say("training.tensorboard: tensorboard is not installed; the losses are in log.csv")
            yield None
            return
        with Events(self._place.unfinished, steps_done=self._trainer.steps_done) as events:
            yield events

    def _train(self, log: Log) -> None:
        """Train until all is done or a signal comes.

        Raises:
            Terminated: If one came that is not Ctrl-C; what is needed to go on is saved.
        """
        trainer, config = self._trainer, self._experiment.training
        saved_at, saved_step = time.monotonic(), trainer.steps_done
        with (
            self._signals.waiting(),
            progress(config.steps, done=trainer.steps_done) as show,
        ):
            while not trainer.is_done and self._signals.received is None:
                loss = self._step(log)
                show(trainer.steps_done, loss, self._memory.bytes)
                steps, seconds = trainer.steps_done - saved_step, time.monotonic() - saved_at
                if config.checkpoint_interval.is_due(steps, seconds) and not trainer.is_done:
                    with self._signals.held_back():
                        self._save(log)
                    saved_at, saved_step = time.monotonic(), trainer.steps_done

        if self._signals.is_terminated:
            with self._signals.held_back():
                self._save(log)
        self._signals.received = None  # Ctrl-C has had its way: the training is over

    def _step(self, log: Log) -> float:
        trainer = self._trainer
        rate, start = trainer.learning_rate, time.perf_counter()
        loss = self._memory.step(trainer)
        seconds = time.perf_counter() - start
        self._seconds += seconds
        self._steps_here += 1
        if self._steps_here > _WARM_UP:
            self._pace = (self._pace[0] + 1, self._pace[1] + seconds)
        check_within(peak_memory(trainer.device), self._experiment)

        step = trainer.steps_done
        validation = trainer.validations.get(step)
        log.add(step, loss, rate, self._seconds, validation)
        if self._shown is not None:
            self._shown.add(
                step, {"loss": loss, "learning_rate": rate, "validation_loss": validation}
            )
        return loss

    def _save(self, log: Log) -> None:
        """Write a checkpoint; where that cannot be, warn, and keep the one before."""
        place = self._place
        result = {
            "run": self._id,
            "replaces": self._replaces,
            "steps": self._trainer.steps_done,
            "interrupted": True,
        }
        state = {
            "trainer": self._trainer.state(),
            "units": self._trainer.data.units.arrays(),
            "random": random.getstate(),
            "random_of_numpy": np.random.get_state(),
            "seconds": self._seconds,
            "pace": self._pace,
            "step_memory": self._memory.bytes,
        }
        try:
            place.check_kept()
            log.sync()
            if self._shown is not None:
                self._shown.sync()
            contents = contents_of_run(
                self._experiment, self._trainer.model, self._task.layout, result
            )
            write_checkpoint(place.checkpoint, state, contents)
        except (OSError, NoetherError) as error:
            if str(error) != self._last_warning:
                say(f"no checkpoint was written: {error}; an older one stays as it is")
            self._last_warning = str(error)

    def _look_at(self, model: PointTransformer, looks: _Looks) -> None:
        """Find out how well the model does, as far as Ctrl-C lets it."""
        if looks.is_cut:
            return
        units = self._trainer.data.units
        try:
            looks.points_at_once = _points_drawn(self._task)
            looks.evaluation = evaluate(model, units, self._task.test)
            looks.picture = self._picture(model, looks.points_at_once)
        except Terminated:
            raise
        except KeyboardInterrupt:
            self._signals.received = None
            looks.is_cut = True
            say("interrupted: what was learnt is written without the rest")

    def _picture(self, model: PointTransformer, at_once: int | None) -> bytes | None:
        units, task = self._trainer.data.units, self._task

        def predict(sample: Sample) -> Fields:
            return predicted_fields(model, units, sample, at_once=at_once)

        try:
            own = task.picture(predict)
            if own is not None:
                return own
            sample = task.test[0]
            title = self._experiment.attention.type
            return draw(sample, task.layout, predict(sample), title=title)
        except Exception as error:  # noqa: BLE001  no picture is worth a training
            say(f"no picture was drawn: {type(error).__name__}: {error}")
            return None

    def _publish(self, model: PointTransformer, log: Log, looks: _Looks) -> dict[str, Any]:
        """Write the files of the run, and put them into its folder together.

        Raises:
            OutputError: If that cannot be; the message says where what was learnt is.
        """
        place = self._place
        result = {
            "run": self._id,
            **result_of(
                self._experiment,
                self._trainer,
                looks.evaluation,
                is_cut=looks.is_cut,
                seconds=self._seconds,
                pace=self._pace,
                step_memory=self._memory.bytes,
            ),
            "points_at_once": looks.points_at_once,
        }
        try:
            stage = place.new_stage()
            dump(self._experiment, stage / CONFIG)
            if looks.picture is not None:
                (stage / PICTURE).write_bytes(looks.picture)
            (stage / LOG).write_bytes(log.content())
            place.copy_events(stage)
            contents = contents_of_run(self._experiment, model, self._task.layout, result)
            write_model(stage / WEIGHTS, model, self._trainer.data.units, contents)
            (stage / RESULT).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
            folder = place.publish(stage, is_over=not result["interrupted"])
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(
                f"{place.path}: cannot be written: {error.strerror or error}; what was learnt is "
                f"kept in {place.unfinished}: go on with --resume"
            ) from error
        say_result(visible_lines(summary(result, folder)))
        return result


@attrs.define
class _Looks:
    """What was found out about a model that has learnt."""

    evaluation: Evaluation | None = None
    picture: bytes | None = None
    is_cut: bool = False
    points_at_once: int | None = None


def _points_drawn(task: Task) -> int | None:
    """Return the most points of a group that a step sees of a sample; None for all that it has."""
    if not task.is_drawn:
        return None
    sample = task.draw(0, np.random.default_rng(0))
    return max(len(points) for points in sample.groups.values())
