"""What the model of an experiment takes, counted, and what a run of it takes."""

from __future__ import annotations

import pytest
import torch

from noether_core import load
from noether_core.building import make_task
from noether_plugins.workbench.costs import costs_of
from noether_plugins.workbench.data import prepare
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.memory import StepMemory
from noether_plugins.workbench.model import PointTransformer
from noether_plugins.workbench.training import Trainer

CPU = torch.device("cpu")

SMALL = """\
attention: {type: galerkin, hidden_dim: 8, num_heads: 2}
model: {depth: 2}
task: {type: airfoil, n_train: 4, n_test: 1, n_surface: 100, n_volume: 100}
training: {steps: 2, batch_size: 4, device: cpu}
"""


@pytest.fixture
def experiment_of(tmp_path):
    def make(*overrides):
        file = tmp_path / "small.yaml"
        file.write_text(SMALL)
        return load(file, Experiment, overrides=overrides)

    return make


def step_of_run(experiment):
    """Return parameters of the model, and bytes of a step of its training."""
    task = make_task(experiment.task, seed=0)
    model = PointTransformer(experiment.attention, experiment.model, task.layout)
    data = prepare(task, validation=0, seed=0, device=CPU, memory=2**30)
    trainer, memory = Trainer(model, data, experiment.training, seed=0), StepMemory()
    for _ in range(2):
        memory.step(trainer)
    return sum(each.numel() for each in model.parameters()), memory.bytes


GROUPED = "{type: cross_anchor, hidden_dim: 8, num_heads: 2, branches: [surface, volume]}"


@pytest.mark.parametrize(
    ("overrides", "tolerance"),
    [
        ((), 2e-3),
        pytest.param(
            ("training.accumulate=2", "training.ema=0.9"), 2e-3, marks=pytest.mark.nightly
        ),
        pytest.param(
            ("training.precision=bfloat16",),
            3e-2,  # autocast keeps casts of real weights
            marks=pytest.mark.nightly,
        ),
        ((f"attention={GROUPED}",), 2e-3),
    ],
    ids=["plain", "in parts", "in sixteen bits", "in groups"],
)
def test_the_memory_of_a_step_is_that_of_a_run(experiment_of, overrides, tolerance):
    experiment = experiment_of(*overrides)
    costs = costs_of(experiment, [200])
    parameters, taken = step_of_run(experiment)
    assert costs.parameters == parameters
    _, training = costs.counts
    assert (training.how, training.samples) == ("counted", 4)
    assert training.bytes == pytest.approx(taken, rel=tolerance)


def test_a_step_of_all_samples_takes_three_forward_passes_of_each(experiment_of):
    forward, training = costs_of(experiment_of(), [200]).counts
    assert training.operations == pytest.approx(3 * 4 * forward.operations, rel=0.1)


def test_no_sample_is_made(experiment_of, monkeypatch):
    def fail(self):
        raise AssertionError

    monkeypatch.setattr("noether_plugins.tasks.airfoil.task.AirfoilTask.train", property(fail))
    costs = costs_of(experiment_of(), [20])
    assert [each.tokens for each in costs.counts] == [20, 20]
    assert "dealt evenly to surface, volume" in costs.basis


def test_numbers_beyond_those_of_documents_are_floats(experiment_of):
    large = experiment_of("attention.type=dot_product", "attention.hidden_dim=4096")
    _, training = costs_of(large, [10_000_000]).counts
    assert isinstance(training.operations, float)
    assert training.operations > 2**63


def test_many_blocks_are_counted_by_those_of_one_and_two_and_say_so(experiment_of, monkeypatch):
    deep = experiment_of("model.depth=5")
    whole = costs_of(deep, [1_000])
    monkeypatch.setattr("noether_core.counting.MOST_CALLS", 3_000)  # enough for three blocks
    by_blocks = costs_of(deep, [1_000])
    assert by_blocks.parameters == whole.parameters
    (forward, one), (same, other) = whole.counts, by_blocks.counts
    assert forward == same
    assert (one.how, other.how) == ("counted", "fitted")
    assert other.detail == "from counts with 1 and 2 of the 5 blocks, which are alike"
    assert (other.operations, other.bytes) == (one.operations, one.bytes)
