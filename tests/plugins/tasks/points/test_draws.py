"""Points drawn of each case, from memory or from the disk, and no more read than needed."""

import tracemalloc

import numpy as np
import pytest

from noether_core.tasks import TaskError, check_sample
from noether_core.testing import check_task
from noether_plugins.tasks.points import dataset
from tests.plugins.tasks.points.made import POINTS, WRITERS, arrays, group_for, task_of, write_cases


def drawn(task, number=0, seed=0):
    return task.draw(number, np.random.default_rng(seed)).groups["volume"]


def test_steps_see_other_points_each_time_and_the_same_of_the_same_state(tmp_path):
    write_cases(tmp_path, ".npz", range(2))
    task = task_of(tmp_path, points_per_sample=5)
    rng = np.random.default_rng(0)
    draws = [task.draw(0, rng).groups["volume"].positions for _ in range(20)]
    assert {len(points) for points in draws} == {5}
    everything = {tuple(point) for points in draws for point in points}
    assert everything == {tuple(p) for p in task.train[0].groups["volume"].positions}
    np.testing.assert_array_equal(drawn(task).positions, draws[0])
    check_sample(task.draw(0, rng), task.layout)


def test_points_stay_with_their_fields(tmp_path):
    write_cases(tmp_path, ".npz", range(2))
    task = task_of(tmp_path, points_per_sample=7)
    case = arrays(int(task.train[0].name[-1]))
    known = {
        tuple(p): (v, s)
        for p, v, s in zip(case["points"], case["velocity"], case["sdf"], strict=True)
    }
    points = drawn(task)
    for position, velocity, sdf in zip(
        points.positions, points.fields["velocity"], points.inputs["sdf"], strict=True
    ):
        np.testing.assert_array_equal(velocity, known[tuple(position)][0])
        assert sdf == known[tuple(position)][1]


@pytest.mark.parametrize("wanted", [POINTS, 1000, None])
def test_small_cases_are_seen_whole(tmp_path, wanted):
    write_cases(tmp_path, ".npz", range(2))
    task = task_of(tmp_path, points_per_sample=wanted)
    np.testing.assert_array_equal(drawn(task).positions, task.train[0].groups["volume"].positions)


def test_groups_may_be_drawn_apart(tmp_path):
    write_cases(tmp_path, ".npz", range(2))
    groups = {"a": {"fields": ["pressure"]}, "b": {"inputs": ["sdf"]}}
    task = task_of(tmp_path, groups=groups, points_per_sample={"b": 3})
    sample = task.draw(0, np.random.default_rng(0))
    assert [len(points) for points in sample.groups.values()] == [POINTS, 3]


def test_held_out_cases_are_always_the_same_points(tmp_path):
    write_cases(tmp_path, ".npz", range(5))
    task = task_of(tmp_path, points_per_sample=4)
    first, second = task.test[1].groups["volume"], task_of(tmp_path, points_per_sample=4).test[1]
    assert len(first) == 4
    np.testing.assert_array_equal(first.positions, second.groups["volume"].positions)
    assert len(task.train[0].groups["volume"]) == POINTS


@pytest.mark.parametrize("extension", WRITERS)
def test_what_is_not_kept_is_drawn_from_the_disk_alike(tmp_path, monkeypatch, extension):
    packages = {".npz": "numpy", ".csv": "numpy", ".parquet": "pyarrow"}
    packages |= {".msh": "meshio", ".xdmf": "h5py"}
    pytest.importorskip(packages.get(extension, "pyvista"))
    write_cases(tmp_path, extension, range(2))
    kept = drawn(task_of(tmp_path, extension, points_per_sample=5))
    monkeypatch.setattr(dataset, "MOST_KEPT_BYTES", 0)
    task = task_of(tmp_path, extension, points_per_sample=5)
    read = drawn(task)
    np.testing.assert_array_equal(read.positions, kept.positions)
    np.testing.assert_array_equal(read.fields["velocity"], kept.fields["velocity"])
    assert len(task.train[0].groups["volume"]) == POINTS


def test_no_more_is_kept_than_there_is_room_for(tmp_path, monkeypatch):
    write_cases(tmp_path, ".npz", range(3))
    one_group = POINTS * 4 * 8  # positions and pressure in double precision
    monkeypatch.setattr(dataset, "MOST_KEPT_BYTES", 3 * one_group + 1)
    groups = {name: {"fields": ["pressure"]} for name in "ab"}
    found = task_of(tmp_path, groups=groups)._dataset
    contents = [each for case in (*found.train, *found.test) for each in case.contents.values()]
    assert sum(each.values is not None for each in contents) == 3


def test_a_file_that_changes_meanwhile_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "MOST_KEPT_BYTES", 0)
    write_cases(tmp_path, ".npz", range(2))
    task = task_of(tmp_path, points_per_sample=5)
    _ = task.layout
    for number in range(2):
        (tmp_path / f"case_{number}.npz").write_bytes(b"")
    with pytest.raises(TaskError, match=r"case_\d\.npz: is empty"):
        drawn(task)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_large_file_is_never_in_memory_at_once(tmp_path, monkeypatch, save):
    monkeypatch.setattr(dataset, "MOST_KEPT_BYTES", 0)
    count = 700_000  # 22 MB of positions and pressure
    points = np.zeros((count, 3))
    points[:, 0] = np.arange(count)
    save(tmp_path / "a.npz", points=points, p=points[:, 0])
    write_cases(tmp_path, ".npz", [1])
    case = arrays(1)
    save(tmp_path / "case_1.npz", points=case["points"], p=case["pressure"])
    del points
    task = task_of(
        tmp_path,
        group={"fields": ["p"]},
        train=str(tmp_path / "a.npz"),
        test=str(tmp_path / "case_1.npz"),
        points_per_sample=1000,
    )
    tracemalloc.start()
    volume = drawn(task)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(volume.positions[:, 0], volume.fields["p"][:, 0])
    assert peak < 11e6


@pytest.mark.parametrize("points_per_sample", [None, 5])
@pytest.mark.parametrize("kept", [0, dataset.MOST_KEPT_BYTES])
def test_the_task_keeps_what_tasks_promise(tmp_path, monkeypatch, points_per_sample, kept):
    monkeypatch.setattr(dataset, "MOST_KEPT_BYTES", kept)
    write_cases(tmp_path / "train", ".npz", range(3))
    write_cases(tmp_path / "test", ".npz", range(3, 5))
    options = {
        "train": str(tmp_path / "train" / "*"),
        "test": str(tmp_path / "test" / "*"),
        "groups": {"volume": group_for(".npz")},
        "points_per_sample": points_per_sample,
    }
    check_task("points", options=options, varies=False)
