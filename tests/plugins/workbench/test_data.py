"""Samples as tensors: checked, kept or made, and put into batches."""

import attrs
import numpy as np
import pytest
import torch

from noether_core import ConfigError
from noether_core.tasks import Points, TaskError
from noether_plugins.workbench.data import as_case, collate, in_batches, prepare, split
from tests.plugins.workbench.tiny_task import DrawingTask, TinyTask, TinyTaskConfig

CPU = torch.device("cpu")


def _prepared(task, *, validation=0.0, memory=2**20):
    return prepare(task, validation=validation, seed=0, device=CPU, memory=memory)


def _task(cls=TinyTask, **options):
    return cls(TinyTaskConfig(**options), seed=0)


def test_samples_of_equal_sizes_have_no_mask():
    data = _prepared(_task(is_equal=True))
    batch = collate([data.train.get(row, 1) for row in (3, 0)])
    assert batch.real is None
    assert batch.features["fluid"].shape == (2, 11, 2 + 1)
    assert batch.features["fluid"][1].equal(data.train.get(0, 1).features["fluid"])


def test_smaller_samples_are_filled_up_and_the_mask_says_where():
    data = _prepared(_task())
    cases = [data.train.get(row, 1) for row in range(3)]
    batch = collate(cases)
    assert batch.real is not None
    for group in batch.features:
        for row, case in enumerate(cases):
            real = batch.real[group][row]
            assert real.sum() == len(case.features[group])
            assert batch.features[group][row][real].equal(case.features[group])
            for name, field in case.fields[group].items():
                assert batch.fields[group][name][row][real].equal(field)


def test_a_group_may_have_no_points_in_a_sample():
    task = _task(n_train=2)
    empty = Points(
        positions=np.zeros((0, 2)),
        inputs={"rough": np.zeros((0, 1)), "normal": np.zeros((0, 2))},
        fields={"pressure": np.zeros((0, 1))},
    )
    task.train[0] = attrs.evolve(task.train[0], groups={**task.train[0].groups, "wall": empty})
    data = _prepared(task)
    batch = collate([data.train.get(row, 1) for row in range(2)])
    assert batch.n_present == {"wall": 1, "fluid": 2}
    assert not batch.real["wall"][0].any()


def test_everything_that_is_wrong_with_samples_is_reported_at_once():
    task = _task()
    wall = task.train[1].groups["wall"]
    wall.fields["pressure"][2] = np.nan
    task.test[1].inputs["gain"] = np.ones(3)
    nothing = {
        name: Points(
            positions=points.positions[:0],
            inputs={key: value[:0] for key, value in points.inputs.items()},
            fields={key: value[:0] for key, value in points.fields.items()},
        )
        for name, points in task.train[3].groups.items()
    }
    task.train[3] = attrs.evolve(task.train[3], groups=nothing)
    with pytest.raises(TaskError) as caught:
        _prepared(task)
    assert str(caught.value).splitlines() == [
        "sample 'train_1': wall.fields.pressure: 1 of 7 values are not finite",
        "sample 'train_3': has no points",
        "sample 'test_1': inputs.gain: shape (3,), expected (1,)",
    ]


def test_a_file_that_cannot_be_read_is_a_fault_of_its_sample():
    task = _task()

    class Files(list):
        def __getitem__(self, number):
            if number == 1:
                raise PermissionError(13, "Permission denied", "b.npz")
            return super().__getitem__(number)

    task.train = Files(task.train)
    with pytest.raises(TaskError, match=r"^training sample 1: .*Permission denied: 'b.npz'$"):
        _prepared(task)


def test_points_that_are_drawn_are_checked_too():
    task = _task(DrawingTask)
    train = _prepared(task).train
    task.train[2].groups["wall"].fields["pressure"][:] = np.inf
    with pytest.raises(TaskError, match=r"sample 'train_2': wall\.fields\.pressure"):
        train.get(2, 1)


def test_a_task_needs_samples_of_both_kinds():
    with pytest.raises(TaskError, match="there are no held-out samples"):
        _prepared(_task(n_test=0))


def test_samples_that_do_not_fit_into_memory_are_made_each_time_with_the_same_numbers():
    kept, made = _prepared(_task()), _prepared(_task(), memory=3000)
    assert len(kept.train.kept) == 5
    assert not made.train.kept
    for row in range(5):
        one, other = kept.train.get(row, 1), made.train.get(row, 7)
        assert all(one.features[group].equal(other.features[group]) for group in one.features)


def test_drawn_points_depend_on_seed_step_and_sample_alone():
    first, second = (_prepared(_task(DrawingTask)).train for _ in range(2))
    again = second.get(2, 5)
    assert first.get(2, 5).features["fluid"].equal(again.features["fluid"])
    drawn = [first.get(2, step).features["fluid"] for step in (5, 6, 7, 8)]
    assert any(not drawn[0].equal(other) for other in drawn[1:])
    assert not first.kept


def test_a_task_that_could_draw_and_does_not_is_kept():
    class Still(DrawingTask):
        is_drawn = False

    data = _prepared(_task(Still))
    assert len(data.train.kept) == 5
    assert data.most_points == 18


def test_the_largest_sample_is_known_for_what_a_step_may_need():
    assert _prepared(_task()).most_points == 18
    assert _prepared(_task(DrawingTask)).most_points <= 10


def test_samples_kept_aside_are_none_to_learn_from_and_change_no_units():
    task = _task(n_train=5)
    data = _prepared(task, validation=0.4)
    assert sorted([*data.train.numbers, *data.validation.numbers]) == [0, 1, 2, 3, 4]
    assert len(data.validation) == 2
    walls = [task.train[number].groups["wall"] for number in data.train.numbers]
    mean = np.concatenate([wall.fields["pressure"] for wall in walls]).mean()
    assert data.units.scales["wall.fields.pressure"].mean == pytest.approx([mean], rel=1e-12)


@pytest.mark.parametrize(
    ("n_samples", "share", "n_aside"), [(5, 0.0, 0), (5, 0.01, 1), (5, 0.99, 4), (2, 0.1, 1)]
)
def test_some_samples_are_left_to_learn_from_whatever_the_share(n_samples, share, n_aside):
    chosen, aside = split(n_samples, share, 0)
    assert len(aside) == n_aside
    assert {*chosen} | aside == {*range(n_samples)}


def test_a_single_sample_is_not_kept_aside():
    with pytest.raises(ConfigError, match=r"training\.validation: the task has one sample"):
        split(1, 0.5, 0)


def test_samples_that_are_alike_and_follow_each_other_are_computed_together():
    alike = [*_task(is_equal=True).train]
    sizes = [len(some) for some in in_batches(alike, most_samples=3, most_points=1000)]
    assert sizes == [3, 2]
    assert [len(some) for some in in_batches(alike, most_samples=3, most_points=36)] == [2, 2, 1]
    assert [len(some) for some in in_batches(alike, most_samples=3, most_points=1)] == [1] * 5
    unlike = [*_task(n_train=4).train]
    assert [len(some) for some in in_batches(unlike, most_samples=3, most_points=1000)] == [1] * 4


def test_a_sample_without_its_truth_has_no_fields(tmp_path):
    data = _prepared(_task())
    sample = _task().test[0]
    assert as_case(sample, data.units, CPU, with_fields=False).fields == {}
