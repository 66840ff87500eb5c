"""What acme_pipe is, and what every task promises."""

import json

import numpy as np
import pytest

from noether_core.building import make_task
from noether_core.tasks import TaskError
from noether_core.testing import check_task

PIPE = {
    "gradient": 2.0,
    "fluid": {"positions": [[0.0, 0.0], [0.5, 0.0], [0.0, 0.75]]},
    "wall": {"positions": [[1.0, 0.0], [0.0, -1.0]]},
}


def test_it_keeps_what_tasks_promise(tmp_path):
    (tmp_path / "pipe.json").write_text(json.dumps(PIPE))

    check_task("acme_pipe", file=tmp_path / "pipe.json")


def test_the_flow_rate_is_that_of_poiseuille():
    options = {"type": "acme_pipe", "points": 20_000, "n_train": 1, "viscosity": 0.1}
    (sample,) = make_task(options, seed=3).train
    gradient = sample.inputs["gradient"][0]
    radius = np.linalg.norm(sample.groups["wall"].positions[0])

    mean = sample.groups["fluid"].fields["velocity"].mean()  # of points uniform over the area

    assert np.pi * radius**2 * mean == pytest.approx(np.pi * gradient * radius**4 / 0.8, rel=0.02)


def test_the_wall_carries_what_the_pressure_pushes():
    for sample in make_task({"type": "acme_pipe"}, seed=3).test:
        radius = np.linalg.norm(sample.groups["wall"].positions, axis=1)
        pushed = np.pi * radius**2 * sample.inputs["gradient"][0]
        carried = 2 * np.pi * radius * sample.groups["wall"].fields["shear"][:, 0]
        np.testing.assert_allclose(carried, pushed, rtol=1e-5)


def test_a_file_that_holds_no_pipe_is_refused(tmp_path):
    (tmp_path / "broken.json").write_text("{}")
    task = make_task({"type": "acme_pipe"}, seed=1)

    with pytest.raises(TaskError, match=r"broken\.json: holds no pipe"):
        task.read(tmp_path / "broken.json", task.layout)
