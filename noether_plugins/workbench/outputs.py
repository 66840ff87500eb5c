"""The folder of a run: what it holds; written whole, and never over another run unasked."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from noether_core import NoetherError, dump, registry, unstructure
from noether_core.atomic_writes import staged_folder
from noether_core.quoting import visible
from noether_plugins.workbench.evaluation import Evaluation
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.model import PointTransformer
from noether_plugins.workbench.training import Trainer
from noether_plugins.workbench.units import Units

CONFIG = "experiment.yaml"
WEIGHTS = "weights.safetensors"
PICTURE = "flow.png"
RESULT = "result.json"
"""By this one a run is known to be whole: it is written last and replaced first."""

_FILES = (CONFIG, WEIGHTS, PICTURE, RESULT)


class OutputError(NoetherError, OSError):
    """The folder of a run cannot be used."""


def new_folder(wanted: Path) -> Path:
    """Make and return the folder *wanted*, or where it is taken the next one: ``name-2``, say.

    Whoever makes it has it: of two runs that start together each gets its own.

    Raises:
        OSError: If the folder around it cannot be written to.
    """
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError  # there is always a next number


@contextmanager
def staged(folder: Path, *, overwrite: bool, is_reserved: bool = False) -> Iterator[Path]:
    """Yield an empty folder whose files become those of *folder* when the block ends well.

    When it does not, nothing is left behind and an older run stays as it was.

    Raises:
        OutputError: If *folder* holds a run and may not be overwritten, or cannot be written to,
            both before the block runs; or if writing fails later.
    """
    _check(folder, overwrite=overwrite)
    made = [parent for parent in folder.absolute().parents if not parent.exists()]
    if is_reserved:
        made = [folder.absolute(), folder.absolute().parent]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with staged_folder(folder, last=RESULT) as stage:
            yield Path(stage)
    except NoetherError:
        raise
    except OSError as error:  # a full disk, say
        reason = f"cannot be written: {error.strerror or error}"
        raise OutputError(f"{folder}: {reason}; name another folder with --output") from error
    finally:
        _remove_empty(made)


def _check(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder now that would be refused when the work is done."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise OutputError(f"{folder}: is no folder; name one with --output")

    other = "name another folder with --output"
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: cannot be written: permission denied; {other}")
    there = [folder / name for name in _FILES if (folder / name).exists()]
    for path in there:
        if path.is_dir():
            raise OutputError(f"{path}: is a folder where a file is to be; {other}")
    if there and not overwrite:
        raise OutputError(f"{folder}: already holds a run; {other}, or say --overwrite")


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, the innermost first, that were made for a run which wrote nothing."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


def write_run(
    folder: Path,
    experiment: Experiment,
    model: PointTransformer,
    units: Units,
    result: Mapping[str, Any],
) -> None:
    """Write the files of a run, but for its picture, to a folder."""
    dump(experiment, folder / CONFIG)

    # What a reader needs to make the model again, readable without torch.
    names = ("experiment", "provider", "fingerprint", "torch")
    metadata = {"noether": json.dumps({name: result[name] for name in names})}
    (folder / WEIGHTS).write_bytes(save(_tensors(model, units), metadata=metadata))
    (folder / RESULT).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _tensors(model: PointTransformer, units: Units) -> dict[str, torch.Tensor]:
    """Return the weights, and the units of the predictions."""
    tensors = dict(model.state_dict())
    for name, array in units.arrays().items():
        tensors[f"units.{name}"] = torch.from_numpy(array)
    return {name: value.contiguous() for name, value in tensors.items()}


def result_of(
    experiment: Experiment,
    trainer: Trainer,
    evaluation: Evaluation,
    seconds: float,
    step_memory: int | None,
) -> dict[str, Any]:
    """Return what is kept of a run besides its weights, as plain data."""
    steps = trainer.steps_done
    return {
        "type": experiment.attention.type,
        "provider": registry().provider_of(experiment.attention).provider,
        "fingerprint": experiment.attention.fingerprint(),
        "experiment": unstructure(experiment),
        "interrupted": not trainer.is_done,
        "steps": steps,
        "seconds_per_step": seconds / steps,
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "step_memory_bytes": step_memory,
        "relative_errors": evaluation.errors,
        "relative_errors_of_mean": evaluation.errors_of_mean,
        "losses": trainer.losses,
        "validations": trainer.validations,
        "torch": torch.__version__,
        "device": trainer.device.type,
    }


def summary(result: Mapping[str, Any], folder: Path) -> str:
    """Return the lines that a run prints in the end."""
    lines = [f"{result['type']} ({result['provider']}), {result['parameters']:,} parameters"]
    if result["interrupted"]:
        lines.append(f"interrupted after {result['steps']} steps")

    lines.append(f"{'relative L2 error':<20}{'model':>10}{'mean':>10}{'ratio':>10}")
    for name, error in result["relative_errors"].items():
        mean = result["relative_errors_of_mean"][name]
        if error is None:
            lines.append(f"{name:<20}{'0 everywhere':>30}")
        else:
            lines.append(f"{name:<20}{error:>10.4f}{mean:>10.4f}{error / mean:>10.3f}")

    milliseconds = 1e3 * result["seconds_per_step"]
    mebibytes = (result["step_memory_bytes"] or 0) / 2**20
    lines.append(f"{milliseconds:.1f} ms per step, which takes {mebibytes:,.0f} MiB")
    lines.append(f"written to {visible(str(folder))}/")
    return "\n".join(lines)
