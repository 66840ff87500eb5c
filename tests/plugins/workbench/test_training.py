"""The training loop."""

import math
import os
import signal
import sys
import threading

import attrs
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from noether_core import ConfigError
from noether_plugins.workbench.data import Units, make_model
from noether_plugins.workbench.experiment import Experiment, TrainingConfig
from noether_plugins.workbench.training import (
    DivergedError,
    catch_interrupt,
    learning_rate_factor,
    train,
)


def _train(experiment, batch, *, model=None, is_interrupted=lambda: False):
    torch.manual_seed(0)
    return train(
        model or make_model(experiment),
        batch,
        Units.of(batch),
        experiment.training,
        seed=0,
        report=lambda step, loss: None,
        is_interrupted=is_interrupted,
    )


def test_the_learning_rate_rises_along_a_line_and_falls_along_a_cosine():
    config = TrainingConfig(steps=100, warmup=0.2)
    factors = [learning_rate_factor(step, config) for step in range(101)]
    assert factors[0] == 0.05
    assert factors[19] == factors[20] == 1.0
    assert math.isclose(factors[60], 0.5)
    assert math.isclose(factors[100], 0.0, abs_tol=1e-12)


def test_the_learning_rate_needs_no_warm_up():
    assert learning_rate_factor(0, TrainingConfig(steps=1, warmup=0.0)) == 1.0


def test_a_batch_larger_than_the_data_is_refused(small):
    with pytest.raises(ConfigError) as caught:
        Experiment(attention=small.attention, data=small.data)
    (problem,) = caught.value.problems
    assert problem.path == "training.batch_size"
    assert problem.message == "8 is more than data.n_train 3"


def test_a_loss_that_is_no_number_ends_the_training(small, batch):
    model = make_model(small)
    torch.nn.init.constant_(model.heads["surface"].weight, math.inf)
    with pytest.raises(DivergedError, match=r"at step 1; lower training\.learning_rate"):
        _train(small, batch, model=model)


def test_the_loss_falls(small, batch):
    experiment = attrs.evolve(
        small, training=TrainingConfig(steps=30, batch_size=3, learning_rate=0.01)
    )
    losses = _train(experiment, batch).losses
    assert losses[-1] < 0.9 * losses[0]


def test_large_gradients_are_clipped_before_they_are_used(small, batch):
    experiment = attrs.evolve(small, training=TrainingConfig(steps=3, batch_size=2))
    model = make_model(experiment)
    with torch.no_grad():
        for head in model.heads.values():
            head.weight.mul_(100)  # predictions that are far off have large gradients
    norms = []

    def keep_norm(optimizer, arguments, options):
        gradients = [parameter.grad.flatten() for parameter in model.parameters()]
        norms.append(float(torch.cat(gradients).norm()))

    hook = register_optimizer_step_pre_hook(keep_norm)
    try:
        _train(experiment, batch, model=model)
    finally:
        hook.remove()
    assert norms == pytest.approx([1.0, 1.0, 1.0], rel=1e-4)


def test_an_interrupted_training_ends_behind_its_step(small, batch):
    answers = iter([False, True])
    training = _train(small, batch, is_interrupted=lambda: next(answers))
    assert len(training.losses) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_the_first_interrupt_is_caught_and_the_second_is_not():
    with catch_interrupt() as is_interrupted:
        assert not is_interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        assert is_interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_threads_other_than_the_main_one_leave_signals_alone():
    seen = []

    def look():
        with catch_interrupt() as is_interrupted:
            seen.append(is_interrupted())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [False]
