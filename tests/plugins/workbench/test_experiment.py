"""What an experiment may say, and what its task has to fit."""

import attrs
import pytest

from noether_core import ConfigError
from noether_plugins.attention.irregular_nat.config import IrregularNatAttentionConfig
from noether_plugins.workbench.experiment import TrainingConfig, check_batch, check_fits
from noether_plugins.workbench.intervals import Interval
from tests.plugins.workbench.tiny_task import TinyTask, TinyTaskConfig


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("20 steps", Interval(20, None)),
        ("1 step", Interval(1, None)),
        ("2 minutes", Interval(None, 120.0)),
        (" 1.5hours ", Interval(None, 5400.0)),
        ("30 seconds", Interval(None, 30.0)),
        ("0 steps", None),
        ("1.5 steps", None),
        ("-2 minutes", None),
        ("2", None),
        ("two minutes", None),
        ("2 minutes or so", None),
    ],
)
def test_intervals_are_steps_or_times(text, interval):
    assert Interval.parse(text) == interval


def test_an_interval_is_due_by_its_steps_or_its_seconds():
    assert Interval(20, None).is_due(20, 0.0)
    assert not Interval(20, None).is_due(19, 1e9)
    assert Interval(None, 60.0).is_due(1, 60.0)
    assert not Interval(None, 60.0).is_due(10**9, 59.0)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("checkpoint_every", "sometimes", "expected steps or a time; write '20 steps'"),
        ("validate_every", "2 minutes", "expected a number of steps; write '100 steps'"),
        ("accumulate", 9, "9 parts of a batch of 8 samples; write 8 or less"),
        ("validation", 1.0, "expected"),
        ("ema", 1.0, "expected"),
    ],
)
def test_options_of_the_training_are_checked(option, value, message):
    with pytest.raises(ConfigError) as caught:
        TrainingConfig(**{option: value})
    (problem,) = caught.value.problems
    assert problem.path == option
    assert message in problem.headline


def test_a_batch_larger_than_the_data_is_refused(small):
    check_batch(small, 3)
    with pytest.raises(ConfigError) as caught:
        check_batch(small, 2)
    (problem,) = caught.value.problems
    assert problem.path == "training.batch_size"
    assert problem.message == "3 is more than the 2 samples to learn from"


def test_heads_are_wide_enough_to_rotate_by_the_points_of_the_task(small):
    attention = attrs.evolve(small.attention, use_rope=True)
    experiment = attrs.evolve(small, attention=attention)
    check_fits(experiment, TinyTask(TinyTaskConfig(coordinates=2), seed=0).layout)
    with pytest.raises(ConfigError) as caught:
        check_fits(experiment, TinyTask(TinyTaskConfig(coordinates=3), seed=0).layout)
    (problem,) = caught.value.problems
    assert problem.path == "attention.num_heads"
    assert problem.message == "heads of width 4 cannot rotate by 3 coordinates"


def test_an_attention_for_other_points_is_refused(small):
    attention = IrregularNatAttentionConfig(hidden_dim=8, num_heads=2, input_dim=3, radius=1.0)
    experiment = attrs.evolve(small, attention=attention)
    with pytest.raises(ConfigError) as caught:
        check_fits(experiment, TinyTask(TinyTaskConfig(), seed=0).layout)
    (problem,) = caught.value.problems
    assert problem.path == "attention.input_dim"
    assert problem.message == "3, and points of the task have 2 coordinates"
