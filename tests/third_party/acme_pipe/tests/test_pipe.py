"""What acme_pipe is, and the contract that every task keeps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from noether_core import structure
from noether_core.building import make_task
from noether_core.schemas.task import TaskConfig
from noether_core.tasks import Task, TaskError
from noether_core.testing import check_task

PIPE = {
    "gradient": 2.0,
    "fluid": {"positions": [[0.0, 0.0], [0.5, 0.0], [0.0, 0.75]]},
    "wall": {"positions": [[1.0, 0.0], [0.0, -1.0]]},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pipe.json"
    path.write_text(json.dumps(PIPE), encoding="utf-8")
    return path


def task(**options: object) -> Task:
    return make_task(structure({"type": "acme_pipe", **options}, TaskConfig), seed=3)


def test_it_keeps_the_contract(file: Path) -> None:
    check_task("acme_pipe", file=file)


def test_the_flow_rate_is_poiseuilles() -> None:
    sample = task(points=20_000, n_train=1, n_test=1).train[0]
    gradient = sample.inputs["gradient"][0]
    radius = np.linalg.norm(sample.groups["wall"].positions[0])
    mean = sample.groups["fluid"].fields["velocity"].mean()  # over points that are uniform in area
    assert np.pi * radius**2 * mean == pytest.approx(np.pi * gradient * radius**4 / 0.8, rel=0.02)


def test_the_wall_carries_what_the_pressure_pushes() -> None:
    for sample in task().test:
        radius = np.linalg.norm(sample.groups["wall"].positions, axis=1)
        pushed = np.pi * radius**2 * sample.inputs["gradient"][0]
        carried = 2 * np.pi * radius * sample.groups["wall"].fields["shear"][:, 0]
        np.testing.assert_allclose(carried, pushed, rtol=1e-5)


def test_what_is_no_pipe_is_refused_with_its_name(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{}", encoding="utf-8")
    with pytest.raises(TaskError, match=r"broken\.json: is no pipe: KeyError\('fluid'\)"):
        task().read(broken, task().layout)
