"""The model of a run in its file, and back: weights, units, and what is needed to use them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from noether_core import ConfigError, Registry, provenance_of, structure, unstructure
from noether_core import registry as default_registry
from noether_core.building import make_task
from noether_core.errors import (
    ProvenanceError,
    ProvenanceWarning,
    SavedModuleError,
    describe_differences,
)
from noether_core.saving.runs import (
    CHECKPOINT,
    RunContents,
    differences_of_run,
    made_of,
    run_at,
)
from noether_core.tasks import Fields, Layout, Sample, Task, check_sample
from noether_core.tensor_files.reading import check_installed
from noether_core.tensor_files.tensors import infos_of
from noether_plugins.workbench.checkpoints import read_run_file, write_run_file
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.model import PointTransformer
from noether_plugins.workbench.prediction import predicted_fields
from noether_plugins.workbench.units import Units

_MODEL: Final = "model."
_UNITS: Final = "units."


def contents_of_run(
    experiment: Experiment, model: nn.Module, layout: Layout, result: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the files of a run say of it: the arguments of `RunContents` but for digests.

    Args:
        experiment: What runs.
        model: Its model.
        layout: What its samples have in common.
        result: What has come of it; losses are left out, which are many.
    """
    known = default_registry()
    attention = made_of(experiment.attention, known)
    parts = {provenance_of(module) for module in model.modules()}
    others = [part for part in parts if part not in (None, attention.provenance)]
    many = ("losses", "validation_losses", "experiment")
    return {
        "experiment": unstructure(experiment),
        "attention": attention,
        "parts": tuple(sorted(others, key=str)),
        "task": made_of(experiment.task, known.tasks),
        "layout": layout,
        "result": {name: value for name, value in result.items() if name not in many},
    }


def check_savable(model: PointTransformer) -> None:
    """Check before a training that its model can be saved when it is over.

    Raises:
        UnsavableModuleError: If its state dict holds what a file cannot; the message names it.
    """
    infos_of(model.state_dict())


def write_model(
    file: Path, model: PointTransformer, units: Units, contents: Mapping[str, Any]
) -> None:
    """Write a model with its units, and what a file says of its run, whole or not at all.

    Raises:
        OSError: If the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        tensors[_MODEL + name] = value
    for name, array in units.arrays().items():
        tensors[_UNITS + name] = torch.from_numpy(np.ascontiguousarray(array))
    write_run_file(file, tensors, contents, "run")


class Run:
    """What was learnt in a run: its model, and all that is needed to predict with it.

    Args:
        folder: The folder of the run.
        model: The model, as it is after ``eval()``.
        units: What its inputs and fields are shifted and divided by.
        experiment: What ran.
        result: What came of it, without the losses.
        registry: Where the type of its task is looked up.
    """

    def __init__(
        self,
        folder: Path,
        model: PointTransformer,
        units: Units,
        experiment: Experiment,
        result: Mapping[str, Any],
        *,
        registry: Registry,
    ) -> None:
        self.folder = folder
        self.model = model
        self.units = units
        self.experiment = experiment
        self.result = result
        self._registry = registry

    def __repr__(self) -> str:
        experiment = self.experiment
        return f"<Run {str(self.folder)!r}: {experiment.attention.type} on {experiment.task.type}>"

    @property
    def layout(self) -> Layout:
        """What the samples of its task have in common."""
        return self.units.layout

    @cached_property
    def task(self) -> Task:
        """Its task, made when it is first looked at; no data are read for it.

        Raises:
            PluginError: If the package that provides it cannot be used.
        """
        return make_task(self.experiment.task, seed=self.experiment.seed, registry=self._registry)

    def predict(self, sample: Sample, *, at_once: int | None = None, seed: int = 0) -> Fields:
        """Return the fields that the model predicts for a sample, in their own units.

        Args:
            sample: A sample of the layout; its fields are not looked at.
            at_once: Most points of a group that the model sees together: of more, random parts are
                predicted in turn. None for all of them.
            seed: Seed of which points are in which part.

        Returns:
            By group and field ``(points, width)``, a row for each point of the sample.

        Raises:
            TaskError: If the sample is not what the layout says.
        """
        check_sample(sample, self.layout, with_fields=False)
        return predicted_fields(self.model, self.units, sample, at_once=at_once, seed=seed)


def load_run(
    folder: str | os.PathLike[str],
    *,
    registry: Registry | None = None,
    device: torch.device | str | None = None,
) -> Run:
    """Return what was learnt in a run, from its folder.

    Nothing of the file is executed: its types select among installed variants and tasks, as those
    of any config.

    Args:
        folder: The folder of the run, or the file of its weights.
        registry: Where types are looked up; the process-wide one where it is None.
        device: Where the model is put; on the CPU where it is None.

    Raises:
        SavedModuleError: If the folder holds no finished run, its file is damaged, or the tensors
            do not fit the model.
        ProvenanceError: If nothing installed provides its attention or its task.
        ConfigError: If the experiment is no longer one.
        PluginError: If a package that it needs cannot be used.
    """
    check_installed("loading a run")
    file = _weights_in(Path(folder))
    # Whole, before anything is imported or built for it: nothing is made of a damaged file.
    contents, tensors = read_run_file(file, "run")
    known = default_registry() if registry is None else registry
    differences = tuple(differences_of_run(contents, known))
    missing = [difference for difference in differences if difference.name == "missing"]
    if missing:
        raise ProvenanceError(str(file), missing)

    experiment = _experiment(contents, known, file)
    model, units = _filled(experiment, contents.layout, tensors, file)
    if differences:
        message = describe_differences(str(file), differences)
        warnings.warn(message, ProvenanceWarning, stacklevel=2)
    result = unstructure(contents.result)
    model = model.to(device).eval()
    return Run(file.parent, model, units, experiment, result, registry=known)


def _weights_in(folder: Path) -> Path:
    """Return the file of the weights of a run that is over.

    Raises:
        SavedModuleError: If there is none; the message says what there is.
    """
    if folder.is_file():
        return folder
    found = Path(run_at(folder))
    if found.name == CHECKPOINT:
        reason = "holds a run that is not over; go on with it: noether run FILE --resume --output"
        raise SavedModuleError(str(folder), f"{reason} {folder}")
    return found


def _experiment(contents: RunContents, known: Registry, file: Path) -> Experiment:
    """Return the experiment; its types mean the packages that were recorded."""
    recorded = [contents.attention.provenance, contents.task.provenance, *contents.parts]
    preferred = known.with_preference(f"{each.distribution}:{each.type}" for each in recorded)
    try:
        return structure(unstructure(contents.experiment), Experiment, registry=preferred)
    except ConfigError as error:
        import attrs

        placed = [attrs.evolve(problem, file=str(file)) for problem in error.problems]
        raise error.with_problems(placed) from None


def _filled(
    experiment: Experiment, layout: Layout, tensors: Mapping[str, Tensor], file: Path
) -> tuple[PointTransformer, Units]:
    """Return a model with the weights of a file, and its units."""
    weights = {
        name.removeprefix(_MODEL): value
        for name, value in tensors.items()
        if name.startswith(_MODEL)
    }
    arrays = {
        name.removeprefix(_UNITS): value.numpy()
        for name, value in tensors.items()
        if name.startswith(_UNITS)
    }
    _check_sizes(experiment, layout, weights, file)
    with torch.random.fork_rng(devices=[]):
        model = PointTransformer(experiment.attention, experiment.model, layout)
    try:
        model.load_state_dict(weights)
        return model, Units.from_arrays(layout, arrays)
    except (RuntimeError, KeyError, ValueError) as error:
        reason = f"its tensors do not fit the model: {error}"
        raise SavedModuleError(str(file), reason) from error


def _check_sizes(
    experiment: Experiment, layout: Layout, weights: Mapping[str, Tensor], file: Path
) -> None:
    """Refuse a file whose experiment makes another model than its tensors, without memory for it.

    A small file may name sizes that no machine holds.
    """
    try:
        with torch.device("meta"):
            expected = PointTransformer(experiment.attention, experiment.model, layout).state_dict()
    except Exception:  # noqa: BLE001  one that needs values to be made is found out when it is
        return
    for name in sorted(expected.keys() | weights.keys()):
        here = tuple(expected[name].shape) if name in expected else "nothing"
        there = tuple(weights[name].shape) if name in weights else "nothing"
        if here != there:
            reason = f"'{name}' is {there} in the file and {here} in the model"
            raise SavedModuleError(str(file), f"its tensors do not fit the model: {reason}")
