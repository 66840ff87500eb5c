"""One run from an experiment to its folder: data, training, evaluation, picture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from noether_core import NoetherError, PluginError
from noether_core.quoting import visible_lines
from noether_plugins.workbench.data import (
    Batch,
    Units,
    as_batch,
    held_out_aerofoils,
    make_model,
    training_set,
)
from noether_plugins.workbench.evaluation import mean_errors, model_errors
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.memory import (
    OutOfMemoryError,
    check_need,
    check_within,
    is_out_of_memory,
    peak_memory,
)
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
from noether_plugins.workbench.training import Training, catch_interrupt, progress, train

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
            check_need(experiment)
            result = _run_into(stage, experiment, device)
        except (MemoryError, RuntimeError, PluginError) as error:
            if isinstance(error, OutOfMemoryError) or not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                "an allocation failed; lower training.batch_size or attention.hidden_dim"
            ) from error
    print(visible_lines(summary(result, folder)))
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
    data = experiment.data
    print(
        f"solving the flow around {data.n_train} + {data.n_test} aerofoils",
        file=sys.stderr,
        flush=True,
    )
    batch = training_set(experiment).to(device)
    aerofoils = held_out_aerofoils(experiment)
    units = Units.of(batch)

    torch.manual_seed(experiment.seed)
    model = make_model(experiment).to(device)
    training = _train(model, batch, units, experiment)

    held_out = as_batch(aerofoils).to(device)
    result = result_of(
        experiment,
        model,
        training,
        model_errors(model, held_out, units),
        mean_errors(held_out, units),
    )
    (stage / PICTURE).write_bytes(draw(model, aerofoils, units, title=experiment.attention.type))
    write_run(stage, experiment, model, units, result)
    return result


def _train(model: PointTransformer, batch: Batch, units: Units, experiment: Experiment) -> Training:
    """Train until it is done or Ctrl-C is pressed, within the memory that the run may take."""
    with progress(experiment.training.steps) as show, catch_interrupt() as is_interrupted:

        def report(step: int, loss: float) -> None:
            check_within(peak_memory(batch.device), experiment)
            show(step, loss)

        return train(
            model,
            batch,
            units,
            experiment.training,
            seed=experiment.seed,
            report=report,
            is_interrupted=is_interrupted,
        )
