"""Folders of runs and comparisons for tests: real runs, small and made once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from noether_core import structure, unstructure
from noether_plugins.comparison.record import FILE, Comparison, Row, Scaling, Timing
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.run import Wish, run

EVIL = "</script><script>window.owned = 1</script><img src=x onerror='window.owned = 1'>"
"""What a stranger's package may call something, or say in an error."""

_TASKS = {
    "airfoil": {"n_surface": 11, "n_volume": 23},
    "darcy": {"grid": 8},
    "potential": {"n_surface": 13, "n_volume": 17},
}
_SMALL = {"n_train": 4, "n_test": 3}


def make_run(folder: Path, task: str, attention: dict[str, object], **training: object) -> None:
    """Train a tiny model for a few steps."""
    options = {
        "task": {"type": task, **_SMALL, **_TASKS[task]},
        "attention": {"hidden_dim": 8, "num_heads": 1, **attention},
        "model": {"depth": 1},
        "training": {"steps": 5, "batch_size": 2, "device": "cpu", **training},
    }
    experiment = structure(options, Experiment)
    assert run(experiment, Wish(f"{task}.yaml", str(folder), overwrite=False, resume=False)) == 0


def make_comparison(folder: Path, run_folder: Path) -> None:
    """Write a comparison of three rows: one tied with another, and one that failed."""
    experiment = json.loads((run_folder / "result.json").read_text())["experiment"]
    names = ("transolver", "linear num_heads=1")
    for name in names:
        shutil.copytree(run_folder, folder / "runs" / name / "seed-0")
    rows = [_row(name, place, names) for place, name in enumerate(names)]
    comparison = Comparison(
        command=f"noether compare airfoil.yaml --types transolver,linear,{EVIL}",
        created="2026-01-02T03:04:05+00:00",
        noether="0.1.0",
        torch="2.13.0",
        machine={"processor": "one of the usual ones", "cores": 2},
        experiment=experiment,
        seeds=(0, 1),
        budget="steps=5",
        rows=(*rows, _failed()),
    )
    (folder / FILE).write_text(json.dumps(unstructure(comparison)))


def _row(name: str, place: int, names: tuple[str, ...]) -> Row:
    scaling = Scaling(
        tokens=(128, 256, 512),
        seconds=(0.01, 0.02, 0.04),
        bytes=(1000, 2000, 4000),
        time_exponent=1.0,
        memory_exponent=None,
    )
    return Row(
        name=name,
        type=name.split(maxsplit=1)[0],
        provider="noether-attention",
        version="0.1.0",
        status="complete",
        attention={"type": name.split(maxsplit=1)[0], "hidden_dim": 8},
        sources={"hidden_dim": "file"},
        runs=(f"runs/{name}/seed-0", f"runs/{name}/seed-1"),
        errors={"surface.pressure": (0.5 + place / 10, 0.52 + place / 10)},
        errors_of_mean={"surface.pressure": 1.0},
        ratios={"surface.pressure": (0.5, 0.52)},
        score=0.51 + place / 10,
        interval=(0.4, 0.7),
        rank=1,
        tied_with=tuple(each for each in names if each != name),
        same_as=("perceiver",) if place else (),
        seconds_per_step=0.0123 * (place + 1),
        step=Timing(median=0.0123, lower=0.012, upper=0.013, samples=9, dropped=1),
        step_memory_bytes=7 * 2**20,
        parameters=1234 + place,
        tokens_per_second=5000.0,
        scaling=scaling,
    )


def _failed() -> Row:
    return Row(
        name=f"acme {EVIL}",
        type="acme",
        provider=f"acme {EVIL}",
        version="2",
        status="failed",
        error=f"RuntimeError: shapes do not fit\n{EVIL}",
        attention={},
        sources={},
        runs=(),
    )
