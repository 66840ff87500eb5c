"""What a run is made of, part by part."""

import errno
import math
import os

import pytest
import torch

from noether_core import ConfigError
from noether_plugins.attention.dot_product.config import DotProductAttentionConfig
from noether_plugins.workbench.data import FlowBatch, FlowUnits, held_out_aerofoils, training_set
from noether_plugins.workbench.evaluation import mean_errors
from noether_plugins.workbench.experiment import DataConfig, Experiment, TrainingConfig
from noether_plugins.workbench.memory import (
    OutOfMemoryError,
    check_need,
    check_within,
    is_out_of_memory,
)
from noether_plugins.workbench.model import FlowTransformer
from noether_plugins.workbench.outputs import OutputError, staged
from noether_plugins.workbench.training import DivergedError, _learning_rate, train

ATTENTION = DotProductAttentionConfig(hidden_dim=8, num_heads=2)
SMALL = Experiment(
    attention=ATTENTION,
    data=DataConfig(n_train=3, n_test=2, n_surface=11, n_volume=13),
    training=TrainingConfig(batch_size=2),
)


def _batch(scale=1.0):
    torch.manual_seed(0)
    return FlowBatch(
        torch.randn(5, 7, 4),
        torch.randn(5, 11, 3),
        scale * torch.randn(5, 7) + 3,
        scale * torch.randn(5, 11, 2) - 2,
    )


def test_units_give_fields_of_mean_zero_and_spread_one_and_undo_it():
    batch = _batch(scale=4.0)
    units = FlowUnits.of(batch)
    pressure, velocity = units.encode(batch.pressure, batch.velocity)
    assert pressure.mean().abs() < 1e-6
    assert pressure.std().isclose(torch.tensor(1.0))
    assert velocity.mean(dim=(0, 1)).abs().max() < 1e-6
    back = units.decode(pressure, velocity)
    assert torch.allclose(back[0], batch.pressure, atol=1e-5)
    assert torch.allclose(back[1], batch.velocity, atol=1e-5)


def test_the_error_of_the_mean_is_its_formula():
    batch = _batch()
    mean = batch.pressure.mean()
    formula = sum((mean - each).norm() / each.norm() for each in batch.pressure) / 5
    assert math.isclose(mean_errors(batch, FlowUnits.of(batch)).pressure, formula, rel_tol=1e-5)


def test_held_out_aerofoils_are_none_of_the_training_set():
    train, held_out = training_set(SMALL), held_out_aerofoils(SMALL)
    positions = torch.from_numpy(held_out.surface_positions)
    assert not any(each.allclose(other) for each in train.surface[..., :2] for other in positions)


def test_the_learning_rate_rises_along_a_line_and_falls_along_a_cosine():
    config = TrainingConfig(steps=100, warmup=0.2)
    rates = [_learning_rate(step, config) for step in range(101)]
    assert rates[0] == 0.05
    assert rates[19] == rates[20] == 1.0
    assert math.isclose(rates[60], 0.5)
    assert math.isclose(rates[100], 0.0, abs_tol=1e-12)


def test_the_learning_rate_needs_no_warm_up():
    assert _learning_rate(0, TrainingConfig(steps=1, warmup=0.0)) == 1.0


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ConfigError) as caught:
        Experiment(attention=ATTENTION, data=DataConfig(n_train=3))
    (problem,) = caught.value.problems
    assert problem.path == "training.batch_size"
    assert problem.message == "8 is more than data.n_train 3"


def test_need_is_checked_against_the_limit_and_told_with_both_numbers():
    experiment = Experiment(attention=ATTENTION, memory_limit=2.0)
    check_need(experiment)
    check_within(2 * 2**30, experiment)
    with pytest.raises(
        OutOfMemoryError, match=r"at least 3\.00 GiB and memory_limit is 2\.00 GiB; lower training"
    ):
        check_within(3 * 2**30, experiment)


def test_a_failed_allocation_is_known_from_other_errors():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.float32)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))


def _fill(stage, text="new"):
    for name in ("experiment.yaml", "weights.safetensors", "flow.png", "result.json"):
        (stage / name).write_text(text)


def _fail_in(folder):
    with staged(folder, overwrite=True) as stage:
        _fill(stage)
        raise KeyError("training")


def test_a_run_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyError):
        _fail_in(tmp_path / "deep" / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_leaves_the_older_one_as_it_was(tmp_path):
    folder = tmp_path / "run"
    with staged(folder, overwrite=False) as stage:
        _fill(stage, "old")
    with pytest.raises(KeyError):
        _fail_in(folder)
    assert {file.read_text() for file in folder.iterdir()} == {"old"}
    assert list(tmp_path.iterdir()) == [folder]


def test_a_training_that_leaves_the_numbers_is_told():
    batch = training_set(SMALL)
    model = FlowTransformer(SMALL)
    torch.nn.init.constant_(model.pressure.weight, math.inf)
    with pytest.raises(DivergedError, match=r"at step 1; lower training\.learning_rate"):
        train(
            model,
            batch,
            FlowUnits.of(batch),
            SMALL.training,
            seed=0,
            report=lambda step, loss: None,
            is_interrupted=lambda: False,
        )


def test_a_disk_that_fills_up_is_told_as_what_it_is(tmp_path):
    with (
        pytest.raises(
            OutputError,
            match="run: cannot be written: No space left on device; name another folder",
        ),
        staged(tmp_path / "run", overwrite=False),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_other_files_of_the_folder_stay(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with staged(tmp_path / "run", overwrite=False) as stage:
        _fill(stage)
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    with (
        pytest.raises(OutputError, match="already holds a run"),
        staged(tmp_path / "run", overwrite=False),
    ):
        pass
