"""One run from an experiment to its folder: data, training, evaluation, picture."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from noether_core import NoetherError, PluginError
from noether_core.building import make_task
from noether_core.quoting import visible_lines
from noether_core.tasks import Task
from noether_plugins.workbench.data import prepare
from noether_plugins.workbench.evaluation import evaluate, predictor
from noether_plugins.workbench.experiment import Experiment, check_batch, check_fits
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
from noether_plugins.workbench.messages import say, say_result
from noether_plugins.workbench.model import PointTransformer
from noether_plugins.workbench.outputs import (
    PICTURE,
    OutputError,
    new_folder,
    result_of,
    staged,
    summary,
    write_run,
)
from noether_plugins.workbench.picture import draw
from noether_plugins.workbench.progress import progress, slow_count
from noether_plugins.workbench.training import Trainer
from noether_plugins.workbench.trial import check_call

_INTERRUPTED = 130


def run(experiment: Experiment, *, file: str, output: str | None, overwrite: bool) -> int:
    """Train, evaluate and write a run; return the exit status.

    Ctrl-C during the training ends it there: what was learnt is evaluated and written, and the
    status is 130.

    Args:
        experiment: What to run.
        file: The file it came from; its name is the default name of the run.
        output: Folder of the run; ``runs/`` and the name of *file*, numbered where that is taken,
            where it is None.
        overwrite: Whether a run that the folder holds is replaced.

    Raises:
        OutputError: If the folder holds another run or cannot be written to.
        OutOfMemoryError: If the run needs more memory than it may take.
        DeviceError: If the device that the experiment names is not there.
        DivergedError: If the loss is no longer finite; nothing is written.
    """
    device = _device(experiment.training.device)
    if output == "":
        raise OutputError("--output names no folder")
    folder = Path(output) if output is not None else _folder_of(file, overwrite=overwrite)
    is_reserved = output is None and not overwrite
    with staged(folder, overwrite=overwrite, is_reserved=is_reserved) as stage:
        try:
            result = _run_into(stage, experiment, device)
        except (MemoryError, RuntimeError, PluginError) as error:
            if isinstance(error, OutOfMemoryError) or not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                "an allocation failed; lower training.batch_size or attention.hidden_dim"
            ) from error
    say_result(visible_lines(summary(result, folder)))
    return _INTERRUPTED if result["interrupted"] else 0


def _folder_of(file: str, *, overwrite: bool) -> Path:
    """Return the folder of a run where none is named: another one for each, unless one goes over.

    What it returns is there and empty, so that no other run takes it meanwhile.
    """
    folder = Path("runs") / (Path(file).stem or "run")
    if overwrite:
        return folder
    try:
        return new_folder(folder)
    except OSError as error:
        reason = f"{folder}: cannot be made: {error.strerror}; name a folder with --output"
        raise OutputError(reason) from error


class DeviceError(NoetherError, RuntimeError):
    """The device that an experiment names is not there."""


def _device(wanted: str) -> torch.device:
    if wanted == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if wanted == "cuda":
        raise DeviceError("training.device: 'cuda' is not available here; write 'auto' or 'cpu'")
    return torch.device("cpu")


def _run_into(stage: Path, experiment: Experiment, device: torch.device) -> dict[str, Any]:
    task = make_task(experiment.task, seed=experiment.seed)
    layout = task.layout
    check_fits(experiment, layout)
    check_weights(experiment, layout)
    check_call(experiment.attention, experiment.model, layout)
    say(f"making the samples of {experiment.task.type}")
    data = prepare(
        task,
        validation=experiment.training.validation,
        seed=experiment.seed,
        device=device,
        memory=allowed_memory(experiment) // 4,
        report=slow_count("samples"),
    )
    check_batch(experiment, len(data.train))

    torch.manual_seed(experiment.seed)
    model = PointTransformer(experiment.attention, experiment.model, layout).to(device)
    check_step(experiment, data.most_points, is_padded=model.takes_padding)
    trainer = Trainer(model, data, experiment.training, seed=experiment.seed)
    seconds, step_memory = _train(trainer, experiment, device)

    with trainer.learnt():
        evaluation = evaluate(model, data.units, task.test)
        result = result_of(experiment, trainer, evaluation, seconds, step_memory)
        (stage / PICTURE).write_bytes(_picture(experiment, task, trainer))
        write_run(stage, experiment, model, data.units, result)
    return result


def _picture(experiment: Experiment, task: Task, trainer: Trainer) -> bytes:
    predict = predictor(trainer.model, trainer.data.units)
    own = task.picture(predict)
    if own is not None:
        return own
    sample = task.test[0]
    return draw(sample, task.layout, predict(sample), title=experiment.attention.type)


def _train(
    trainer: Trainer, experiment: Experiment, device: torch.device
) -> tuple[float, int | None]:
    """Train until it is done or Ctrl-C is pressed; return the seconds and the bytes of a step."""
    memory = StepMemory()
    start = time.perf_counter()
    with progress(experiment.training.steps) as show, catch_interrupt() as is_interrupted:
        while not trainer.is_done and not is_interrupted():
            loss = memory.step(trainer)
            check_within(peak_memory(device), experiment)
            show(trainer.steps_done, loss, memory.bytes)
    return time.perf_counter() - start, memory.bytes


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
