"""One run from an experiment to its folder: data, training, evaluation, picture."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import attrs
import torch
from safetensors.torch import save

from noether_core import NoetherError, PluginError, dump, registry, unstructure
from noether_plugins.workbench.data import (
    FlowBatch,
    FlowUnits,
    flow_batch,
    held_out_aerofoils,
    training_set,
)
from noether_plugins.workbench.evaluation import Errors, mean_errors, model_errors
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.interruption import catch_interrupt
from noether_plugins.workbench.memory import (
    OutOfMemoryError,
    check_need,
    check_within,
    is_out_of_memory,
    peak_memory,
)
from noether_plugins.workbench.model import FlowTransformer
from noether_plugins.workbench.outputs import (
    CONFIG,
    PICTURE,
    RESULT,
    WEIGHTS,
    OutputError,
    staged,
    write_json,
)
from noether_plugins.workbench.picture import draw
from noether_plugins.workbench.progress import progress
from noether_plugins.workbench.training import Training, train

_INTERRUPTED = 130


def run(experiment: Experiment, *, file: str, output: str | None, overwrite: bool) -> int:
    """Train, evaluate and write a run; return the exit status.

    Ctrl-C during the training ends it there: what was learnt is evaluated and written, and the
    status is 130.

    Args:
        experiment: What to run.
        file: The file it came from; its name is the default name of the run.
        output: Folder of the run; ``runs/`` and the name of *file* where it is None.
        overwrite: Whether a run that the folder holds is replaced.

    Raises:
        OutputError: If the folder holds another run or cannot be written to.
        OutOfMemoryError: If the run needs more memory than it may take.
        DeviceError: If the device that the experiment names is not there.
        DivergedError: If the training leaves the numbers; nothing is written.
    """
    if output == "":
        raise OutputError("--output names no folder")
    folder = Path(output) if output is not None else Path("runs") / Path(file).stem
    device = _device(experiment)
    with staged(folder, overwrite=overwrite) as stage:
        try:
            check_need(experiment)
            result = _run_into(stage, experiment, device)
        except (MemoryError, RuntimeError, PluginError) as error:
            if isinstance(error, OutOfMemoryError) or not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                "an allocation failed; lower training.batch_size or attention.hidden_dim"
            ) from error
    print(_report(result, folder))
    return _INTERRUPTED if result["interrupted"] else 0


class DeviceError(NoetherError, RuntimeError):
    """The device that an experiment names is not there."""


def _device(experiment: Experiment) -> torch.device:
    wanted, is_there = experiment.training.device, torch.cuda.is_available()
    if wanted == "cuda" and not is_there:
        raise DeviceError("training.device: 'cuda' is not available here; write 'auto' or 'cpu'")
    return torch.device("cuda" if is_there and wanted != "cpu" else "cpu")


def _run_into(stage: Path, experiment: Experiment, device: torch.device) -> dict[str, Any]:
    _tell(f"solving the flow around {experiment.data.n_train} + {experiment.data.n_test} aerofoils")
    batch = training_set(experiment).to(device)
    aerofoils = held_out_aerofoils(experiment)
    units = FlowUnits.of(batch)
    torch.manual_seed(experiment.seed)
    model = FlowTransformer(experiment).to(device)

    training = _train(model, batch, units, experiment)

    held_out = flow_batch(aerofoils).to(device)
    learnt, mean = model_errors(model, held_out, units), mean_errors(held_out, units)
    result = _result(experiment, model, training, learnt, mean)
    dump(experiment, stage / CONFIG)
    (stage / PICTURE).write_bytes(draw(model, aerofoils, units, experiment.attention.type))
    (stage / WEIGHTS).write_bytes(save(_state(model, units), metadata=_metadata(result)))
    write_json(stage / RESULT, result)
    return result


def _train(
    model: FlowTransformer, batch: FlowBatch, units: FlowUnits, experiment: Experiment
) -> Training:
    """Train within the memory that the experiment may take, until it is done or Ctrl-C is pressed."""
    steps = experiment.training.steps
    with progress(steps) as show, catch_interrupt() as is_interrupted:

        def report(step: int, loss: float) -> None:
            check_within(peak_memory(batch.surface.device), experiment)
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


def _result(
    experiment: Experiment, model: FlowTransformer, training: Training, learnt: Errors, mean: Errors
) -> dict[str, Any]:
    provider = registry().provider_of(experiment.attention)
    steps = len(training.losses)
    return {
        "type": experiment.attention.type,
        "provider": provider.provider,
        "fingerprint": experiment.attention.fingerprint(),
        "experiment": unstructure(experiment),
        "interrupted": steps < experiment.training.steps,
        "steps": steps,
        "seconds_per_step": training.seconds / steps,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "peak_memory_bytes": peak_memory(next(model.parameters()).device),
        "relative_errors": attrs.asdict(learnt),
        "relative_errors_of_mean": attrs.asdict(mean),
        "losses": training.losses,
        "torch": torch.__version__,
        "device": next(model.parameters()).device.type,
    }


def _state(model: FlowTransformer, units: FlowUnits) -> dict[str, torch.Tensor]:
    """Return the weights and the units in which the model speaks."""
    measured = {f"units.{name}": value for name, value in attrs.asdict(units).items()}
    return {name: value.contiguous() for name, value in (model.state_dict() | measured).items()}


def _metadata(result: dict[str, Any]) -> dict[str, str]:
    """Return what a reader needs to make the model again, readable without torch."""
    return {
        "noether": json.dumps(
            {name: result[name] for name in ("experiment", "provider", "fingerprint", "torch")}
        )
    }


def _report(result: dict[str, Any], folder: Path) -> str:
    learnt, mean = result["relative_errors"], result["relative_errors_of_mean"]
    lines = [f"{result['type']} ({result['provider']}), {result['parameters']:,} parameters"]
    if result["interrupted"]:
        lines.append(f"interrupted after {result['steps']} steps")
    lines.append(f"{'relative L2 error':<20}{'model':>10}{'mean':>10}{'ratio':>10}")
    for name, label in (("pressure", "Cp"), ("velocity", "velocity")):
        lines.append(
            f"{label:<20}{learnt[name]:>10.4f}{mean[name]:>10.4f}{learnt[name] / mean[name]:>10.3f}"
        )
    lines.append(
        f"{1e3 * result['seconds_per_step']:.1f} ms per step, "
        f"peak memory {result['peak_memory_bytes'] / 2**20:,.0f} MiB"
    )
    lines.append(f"written to {folder}/")
    return "\n".join(lines)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
