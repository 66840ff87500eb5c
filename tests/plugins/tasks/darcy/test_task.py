import numpy as np
import pytest

from noether_core import ConfigError
from noether_core.tasks import check_sample
from noether_plugins.tasks.darcy.config import DarcyTaskConfig
from noether_plugins.tasks.darcy.solver import solve
from noether_plugins.tasks.darcy.task import DarcyTask

PNG = b"\x89PNG\r\n\x1a\n"


def task_of(seed=3, **options):
    return DarcyTask(
        DarcyTaskConfig(**{"n_train": 7, "n_test": 3, "grid": 11, **options}), seed=seed
    )


@pytest.mark.parametrize("options", [{}, {"n_points": 37}, {"permeability": "two_values"}])
def test_samples_are_what_the_layout_says(options):
    task = task_of(**options)

    assert (len(task.train), len(task.test)) == (7, 3)
    for sample in (*task.train, *task.test):
        check_sample(sample, task.layout)
        points = sample.groups["points"]
        assert len(points) == options.get("n_points", 121)
        assert len(np.unique(points.positions, axis=0)) == len(points)
        assert points.positions.dtype == points.fields["flux"].dtype == np.float32


def test_a_sample_holds_the_flow_through_its_own_ground():
    (sample, *_), grid = task_of(log_spread=2.0).train, (11, 11)
    points = sample.groups["points"]
    permeability = np.exp(points.inputs["log_permeability"].astype(float)).reshape(grid)

    flow = solve(permeability, np.ones(grid))

    np.testing.assert_allclose(points.fields["pressure"][:, 0], flow.pressure.ravel(), rtol=1e-5)
    np.testing.assert_allclose(points.fields["flux"], flow.flux.reshape(-1, 2), atol=1e-5)
    x, y = points.positions.reshape(11, 11, 2).transpose(2, 0, 1)
    assert np.all(np.diff(x, axis=0) > 0)
    assert np.all(np.diff(y, axis=1) > 0)


def test_ground_of_two_values_has_two():
    values = task_of(permeability="two_values", log_spread=1.5).train[0].groups["points"]

    assert set(np.unique(values.inputs["log_permeability"])) == {-1.5, 1.5}


def test_a_sample_depends_on_seed_and_number_and_not_on_how_many_there_are():
    def ground(task, number, part="train"):
        return getattr(task, part)[number].groups["points"].inputs["log_permeability"].tobytes()

    assert ground(task_of(), 4) == ground(task_of(n_train=9), 4)
    grounds = [ground(task_of(), number) for number in range(7)]
    grounds += [ground(task_of(), number, "test") for number in range(3)]
    assert len({*grounds, ground(task_of(seed=4), 0)}) == 11


def test_more_points_than_cells_are_refused():
    with pytest.raises(ConfigError, match=r"n_points: 122 is more than the 121 cells of grid 11"):
        DarcyTaskConfig(grid=11, n_points=122)


@pytest.mark.parametrize("n_points", [None, 37])
def test_the_picture_shows_what_is_predicted_for_every_cell_in_handfuls(n_points):
    pytest.importorskip("matplotlib")
    task = task_of(n_points=n_points)
    seen = []

    def predict(sample):
        points = sample.groups["points"]
        seen.append(points.positions)
        return {"points": {"pressure": points.fields["pressure"]}}

    assert task.picture(predict).startswith(PNG)
    assert {len(positions) for positions in seen} == {n_points or 121}
    assert len(np.unique(np.concatenate(seen), axis=0)) == 121
