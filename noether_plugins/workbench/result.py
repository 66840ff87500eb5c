"""What came of a run, as ``result.json`` has it and as it is printed in the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from noether_core import registry, unstructure
from noether_core.quoting import visible
from noether_plugins.workbench.evaluation import Evaluation
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.memory import peak_memory
from noether_plugins.workbench.training import Trainer


def result_of(
    experiment: Experiment,
    trainer: Trainer,
    evaluation: Evaluation | None,
    *,
    is_cut: bool,
    seconds: float,
    pace: tuple[int, float],
    step_memory: int | None,
) -> dict[str, Any]:
    """Return what is kept of a run besides its weights, as plain data.

    Args:
        experiment: What ran.
        trainer: Its training, as far as it came.
        evaluation: Errors on held-out samples; None if Ctrl-C came before they were known.
        is_cut: Whether Ctrl-C came before the run was over.
        seconds: Time of all steps.
        pace: How many of them were like all others, and their time.
        step_memory: Bytes that a step takes; None if none was done here.
    """
    attention, task = experiment.attention, experiment.task
    known = registry()
    validations = trainer.validations
    return {
        "task": task.type,
        "task_provider": known.tasks.provider_of(task).provider,
        "type": attention.type,
        "provider": known.provider_of(attention).provider,
        "fingerprint": attention.fingerprint(),
        "experiment": unstructure(experiment),
        "interrupted": is_cut or not trainer.is_done,
        "steps": trainer.steps_done,
        "best_step": min(validations, key=validations.__getitem__) if validations else None,
        "seconds": seconds,
        "seconds_per_step": pace[1] / pace[0] if pace[0] else seconds / trainer.steps_done,
        "parameters": sum(each.numel() for each in trainer.model.parameters()),
        "step_memory_bytes": step_memory,
        "peak_memory_bytes": peak_memory(trainer.device),
        "relative_errors": {} if evaluation is None else evaluation.errors,
        "relative_errors_of_mean": {} if evaluation is None else evaluation.errors_of_mean,
        "losses": trainer.losses,
        "validation_losses": {str(step): loss for step, loss in validations.items()},
        "torch": str(torch.__version__),  # a class of its own
        "device": trainer.device.type,
    }


def summary(result: Mapping[str, Any], folder: Path) -> str:
    """Return the lines that a run prints in the end."""
    lines = [
        f"{result['task']} ({result['task_provider']})",
        f"{result['type']} ({result['provider']}), {result['parameters']:,} parameters",
    ]
    if result["interrupted"]:
        lines.append(f"interrupted after {result['steps']} steps; go on with --resume")
    if result["best_step"] is not None:
        lines.append(f"weights of step {result['best_step']}, the best on samples kept aside")

    lines += table_of_errors(result["relative_errors"], result["relative_errors_of_mean"])
    milliseconds = 1e3 * result["seconds_per_step"]
    mebibytes = (result["step_memory_bytes"] or 0) / 2**20
    lines.append(f"{milliseconds:.1f} ms per step, which takes {mebibytes:,.0f} MiB")
    lines.append(f"written to {visible(str(folder))}/")
    return "\n".join(lines)


def table_of_errors(
    errors: Mapping[str, float | None], errors_of_mean: Mapping[str, float | None]
) -> list[str]:
    """Return the lines of a table of relative errors, by field; none where there are none."""
    if not errors:
        return []
    width = max(20, *(len(name) + 2 for name in errors))
    lines = [f"{'relative L2 error':<{width}}{'model':>10}{'mean':>10}{'ratio':>10}"]
    for name, error in errors.items():
        mean = errors_of_mean[name]
        if error is None or mean is None:  # there is no error relative to 0
            lines.append(f"{name:<{width}}{'-':>10}{'-':>10}{'-':>10}")
        else:
            ratio = f"{error / mean:>10.3f}" if mean else f"{'-':>10}"
            lines.append(f"{name:<{width}}{error:>10.4f}{mean:>10.4f}{ratio}")
    return lines
