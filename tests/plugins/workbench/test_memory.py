"""What a run may take of the memory, and what a step takes."""

from typing import Literal

import attrs
import pytest
import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode

from noether_core import AttentionConfig, AttentionVariant, PluginError, registry
from noether_plugins.workbench.memory import (
    OutOfMemoryError,
    StepMemory,
    allowed_memory,
    check_step,
    check_weights,
    check_within,
    is_out_of_memory,
    memory_of_machine,
    peak_of,
)
from tests.plugins.workbench.tiny_task import TinyTask, TinyTaskConfig

CPU = torch.device("cpu")
LAYOUT = TinyTask(TinyTaskConfig(), seed=0).layout


def test_need_is_checked_against_the_limit_and_reported_with_both_numbers(small):
    experiment = attrs.evolve(small, memory_limit=2.0)
    check_weights(experiment, LAYOUT)
    check_within(2 * 2**30, experiment)
    with pytest.raises(
        OutOfMemoryError, match=r"at least 3\.00 GiB and memory_limit is 2\.00 GiB; lower training"
    ):
        check_within(3 * 2**30, experiment)


def test_a_step_is_refused_by_its_largest_sample_and_what_is_computed_at_once(small):
    experiment = attrs.evolve(small, memory_limit=1.0)
    most = 2**30 // (3 * 8 * 8 * 4)  # samples, widths of a token in a block, hidden_dim, bytes
    check_step(experiment, most, is_padded=True)
    with pytest.raises(OutOfMemoryError, match=r"lower training\.batch_size or raise training\.ac"):
        check_step(experiment, most + 1, is_padded=True)

    check_step(experiment, 3 * most, is_padded=False)
    halves = attrs.evolve(experiment.training, precision="bfloat16")
    check_step(attrs.evolve(experiment, training=halves), 2 * most, is_padded=True)
    parts = attrs.evolve(experiment.training, accumulate=3)
    check_step(attrs.evolve(experiment, training=parts), 3 * most, is_padded=True)


def test_weights_that_cannot_fit_are_refused_by_their_options(small):
    attention = attrs.evolve(small.attention, hidden_dim=8_000_000)
    with pytest.raises(OutOfMemoryError, match=r"lower attention\.hidden_dim or model\.depth"):
        check_weights(attrs.evolve(small, attention=attention), LAYOUT)
    attention = attrs.evolve(small.attention, hidden_dim=8 * 10**14)
    with pytest.raises(OutOfMemoryError, match="lower the sizes of attention or model"):
        check_weights(attrs.evolve(small, attention=attention), LAYOUT)


@pytest.mark.parametrize("limit", [None, 1e9])
def test_no_run_may_take_more_than_the_machine_has_whatever_its_limit(small, limit):
    experiment = attrs.evolve(small, memory_limit=limit)
    assert allowed_memory(experiment) == memory_of_machine(experiment)
    check_within(memory_of_machine(experiment), experiment)
    with pytest.raises(OutOfMemoryError, match="and the memory of this machine is"):
        check_within(memory_of_machine(experiment) + 1, experiment)


def test_a_failed_allocation_is_known_from_other_errors():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.float32)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    assert not is_out_of_memory(RuntimeError("not enough memory of my youth"))


@attrs.frozen(kw_only=True)
class BrokenConfig(AttentionConfig):
    """Of a variant that cannot be made."""

    type: Literal["broken"] = "broken"


class Broken(torch.nn.Module):
    error: BaseException

    def __init__(self, config):
        raise self.error


@pytest.fixture
def broken(small):
    """An experiment whose attention cannot be made."""
    if "broken" not in registry().types():
        registry().register(
            AttentionVariant(config=BrokenConfig, module=f"{__name__}:Broken", interface="self")
        )
    return attrs.evolve(small, attention=BrokenConfig(hidden_dim=8, num_heads=2))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("no weights of this name"),
        RuntimeError("overflow of my own"),
        OverflowError("cannot convert float infinity to integer"),
        TypeError("Overflow is no option"),
    ],
    ids=repr,
)
def test_a_constructor_that_raises_is_not_blamed_on_sizes(broken, error, monkeypatch):
    monkeypatch.setattr(Broken, "error", error, raising=False)
    with pytest.raises(PluginError, match=str(error)):
        check_weights(broken, LAYOUT)


def test_the_peak_is_what_is_held_at_once_whoever_holds_it():
    weights = torch.ones(1000, requires_grad=True)
    with peak_of(CPU) as peak:
        torch.zeros(5000)
        held = torch.zeros(2000)
        held.view(20, 100).mul_(2)
        torch.zeros(1000)
    assert peak.bytes == 4 * 5000
    with peak_of(CPU) as peak:
        squares = (weights * weights).exp()  # keeps its own result, and nobody the product
        squares = squares.sin() * 1  # keeps both
        squares.sum().backward()
    assert 4 * 3000 < peak.bytes <= 4 * 6000


def test_the_memory_of_a_step_counts_activations_gradients_and_moments(new_trainer):
    trainer, memory = new_trainer(is_equal=True), StepMemory()
    for _ in range(3):
        memory.step(trainer)
    weights = sum(parameter.nbytes for parameter in trainer.model.parameters())
    assert trainer.bytes_kept == pytest.approx(2 * weights, rel=0.05)
    batch = 3 * 18 * 8 * 4
    assert memory.bytes > 3 * weights + 8 * batch
    assert memory.bytes < 20 * (weights + 8 * batch)

    other = new_trainer(is_equal=True)
    other.step()
    kept = other.bytes_kept
    with peak_of(CPU) as peak:
        other.step()
    assert memory.bytes == kept + peak.bytes


def test_only_the_first_steps_are_measured(new_trainer, monkeypatch):
    trainer, memory = new_trainer(), StepMemory()
    for _ in range(2):
        memory.step(trainer)
    before = memory.bytes
    monkeypatch.setattr("noether_plugins.workbench.memory.peak_of", None)
    memory.step(trainer)
    assert memory.bytes == before


def test_a_compiled_model_is_measured_beside_its_steps_which_stay_the_same(
    new_trainer, monkeypatch
):
    calls = []

    def compiled(model):
        return lambda *arguments: calls.append(is_measured()) or model(*arguments)

    def is_measured():
        return _get_current_dispatch_mode() is not None

    monkeypatch.setattr(torch, "compile", compiled)
    options = {"compile": True, "dropout": 0.3, "steps": 3, "is_equal": True}
    trainer, memory = new_trainer(**options), StepMemory()
    losses = [memory.step(trainer) for _ in range(3)]
    other = new_trainer(**options)  # which seeds torch anew
    assert losses == [other.step() for _ in range(3)]
    assert calls == [False] * 6
    as_written = StepMemory()
    plain = new_trainer(**{**options, "compile": False})
    for _ in range(2):
        as_written.step(plain)
    assert memory.bytes == pytest.approx(as_written.bytes, rel=0.2)
