"""The training: its steps, and going on from its state."""

import copy
import io
import math

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from noether_core import registry, structure
from noether_plugins.workbench import training as module
from noether_plugins.workbench.data import collate
from noether_plugins.workbench.experiment import TrainingConfig
from noether_plugins.workbench.memory import StepMemory
from noether_plugins.workbench.training import DivergedError, field_losses, learning_rate_factor
from tests.plugins.workbench.tiny_task import DrawingTask

TYPES = [
    entry.name for entry in registry().providers() if entry.distribution == "noether-attention"
]


def _finish(trainer):
    while not trainer.is_done:
        trainer.step()
    return trainer


def test_the_learning_rate_rises_along_a_line_and_falls_along_a_cosine():
    config = TrainingConfig(steps=100, warmup=0.2)
    factors = [learning_rate_factor(step, config) for step in range(101)]
    assert factors[0] == 0.05
    assert factors[19] == factors[20] == 1.0
    assert math.isclose(factors[60], 0.5)
    assert math.isclose(factors[100], 0.0, abs_tol=1e-12)


def test_the_learning_rate_needs_no_warm_up():
    assert learning_rate_factor(0, TrainingConfig(steps=1, warmup=0.0)) == 1.0


def test_the_loss_falls(new_trainer):
    losses = _finish(new_trainer(steps=30, learning_rate=0.01)).losses
    assert losses[-1] < 0.9 * losses[0]


def test_the_optimizer_has_the_learning_rate_of_its_step(new_trainer):
    trainer = new_trainer(learning_rate=0.5)
    seen = []
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, arguments, options: seen.append(optimizer.param_groups[0]["lr"])
    )
    try:
        _finish(trainer)
    finally:
        hook.remove()
    assert seen == [0.5 * learning_rate_factor(step, trainer.config) for step in range(6)]


@pytest.mark.parametrize("type", TYPES)
def test_every_variant_learns_samples_of_unequal_sizes_measured_or_not(new_trainer, type):
    options = {**registry().get(type).example, "type": type}
    for name, value in {"branches": ["wall", "fluid"], "input_dim": 2}.items():
        if name in options:
            options[name] = value
    config = structure(options)
    trainer = new_trainer(attention=config, steps=2, precision="bfloat16")
    first = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    _finish(trainer)
    last = trainer.model.state_dict()
    changed = [name for name, value in last.items() if not value.equal(first[name])]
    assert any(".attention.attention." in name for name in changed)

    again, memory = new_trainer(attention=config, steps=2, precision="bfloat16"), StepMemory()
    assert [memory.step(again) for _ in range(2)] == trainer.losses


def _gradients(trainer):
    """Return the gradients that the next step uses, before they are clipped."""
    found = {}

    def keep(parameters, most):
        names = zip(trainer.model.named_parameters(), parameters, strict=True)
        found.update({name: parameter.grad.clone() for (name, _), parameter in names})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.utils, "clip_grad_norm_", keep)
        loss = trainer.step()
    return loss, found


@pytest.mark.parametrize("is_equal", [True, False])
@pytest.mark.parametrize("takes_padding", [True, False])
def test_parts_of_a_batch_give_the_gradient_of_the_whole(new_trainer, is_equal, takes_padding):
    whole_loss, whole = _gradients(new_trainer(is_equal=is_equal, batch_size=5))
    trainer = new_trainer(is_equal=is_equal, batch_size=5, accumulate=3)
    trainer.model.takes_padding = takes_padding
    loss, gradients = _gradients(trainer)
    assert loss == pytest.approx(whole_loss, rel=1e-5)
    for name, gradient in whole.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-6)


def test_without_masks_samples_of_unequal_sizes_come_one_by_one(new_trainer):
    trainer = new_trainer(batch_size=4)
    trainer.model.takes_padding = False
    seen = []
    trainer.model.register_forward_pre_hook(lambda model, arguments: seen.append(arguments[1]))
    trainer.step()
    assert seen == [None] * 4


def test_each_sample_counts_alike_and_padding_does_not(new_trainer):
    train = new_trainer().data.train
    cases = [train.get(row, 1) for row in range(3)]
    batch = collate(cases)
    predicted = {
        group: {name: torch.rand_like(field) for name, field in fields.items()}
        for group, fields in batch.fields.items()
    }
    for (group, name), loss in field_losses(predicted, batch).items():
        formula = 0.0
        for row, case in enumerate(cases):
            true = case.fields[group][name]
            formula += (predicted[group][name][row, : len(true)] - true).square().mean() / 3
        assert loss.item() == pytest.approx(float(formula), rel=1e-5)


def test_samples_without_points_in_a_group_do_not_count_there(new_trainer):
    train = new_trainer().data.train
    cases = [train.get(row, 1) for row in range(2)]
    wall = {name: field[:0] for name, field in cases[0].fields["wall"].items()}
    empty = module.Case(
        {**cases[0].features, "wall": cases[0].features["wall"][:0]},
        {**cases[0].fields, "wall": wall},
    )
    batch = collate([empty, cases[1]])
    predicted = {
        group: {name: torch.zeros_like(field) for name, field in fields.items()}
        for group, fields in batch.fields.items()
    }
    losses = field_losses(predicted, batch)
    expected = cases[1].fields["wall"]["pressure"].square().mean()
    assert losses["wall", "pressure"].item() == pytest.approx(expected.item(), rel=1e-5)
    none = collate([empty])
    assert set(field_losses(none.fields, none)) == {("fluid", "velocity"), ("fluid", "heat")}


def test_a_loss_that_is_no_number_ends_the_training_before_it_reaches_the_weights(new_trainer):
    trainer = new_trainer()
    trainer.step()
    torch.nn.init.constant_(trainer.model.heads[0].weight, math.inf)
    before = trainer.model.blocks[0].mlp[0].weight.clone()
    with pytest.raises(DivergedError, match=r"at step 2; lower training\.learning_rate"):
        trainer.step()
    assert trainer.model.blocks[0].mlp[0].weight.equal(before)
    assert trainer.steps_done == 1


def test_large_gradients_are_clipped_before_they_are_used(new_trainer):
    trainer = new_trainer(steps=3)
    with torch.no_grad():
        for head in trainer.model.heads:
            head.weight.mul_(100)  # predictions that are far off have large gradients
    norms = []

    def keep_norm(optimizer, arguments, options):
        gradients = [parameter.grad.flatten() for parameter in trainer.model.parameters()]
        norms.append(float(torch.cat(gradients).norm()))

    hook = register_optimizer_step_pre_hook(keep_norm)
    try:
        _finish(trainer)
    finally:
        hook.remove()
    assert norms == pytest.approx([1.0, 1.0, 1.0], rel=1e-4)


SETTINGS = {
    "plain": {},
    "dropout": {"dropout": 0.3},
    "parts": {"accumulate": 2, "batch_size": 5},
    "average": {"ema": 0.9, "dropout": 0.3},
    "validation": {"validation": 0.4, "validate_every": "2 steps", "learning_rate": 0.3},
    "drawing": {"kind": DrawingTask, "dropout": 0.3},
    "half": {"precision": "bfloat16"},
    "all": {
        "kind": DrawingTask,
        "dropout": 0.3,
        "accumulate": 2,
        "ema": 0.9,
        "validation": 0.2,
        "validate_every": "2 steps",
        "precision": "bfloat16",
    },
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_training_that_goes_on_from_its_state_comes_to_the_same_numbers(new_trainer, settings):
    whole = new_trainer(**settings)
    states = []
    while not whole.is_done:
        states.append(_saved(whole))
        whole.step()
    states.append(_saved(whole))

    for done, state in enumerate(states):
        trainer = new_trainer(**settings)
        torch.rand(5)  # whatever happened before, the state has the randomness of its own
        trainer.load_state(_loaded(state))
        assert trainer.steps_done == done
        _finish(trainer)
        assert trainer.losses == whole.losses
        assert trainer.validations == whole.validations
        _assert_equal(trainer, whole)
    assert whole.losses[-1] != whole.losses[0]


def _saved(trainer):
    file = io.BytesIO()
    torch.save(trainer.state(), file)
    return file.getvalue()


def _loaded(state):
    return torch.load(io.BytesIO(state), weights_only=True)


def _assert_equal(trainer, other):
    own, others = trainer.model.state_dict(), other.model.state_dict()
    assert all(own[name].equal(others[name]) for name in own)
    with trainer.learnt() as model, other.learnt() as other_model:
        own, others = model.state_dict(), other_model.state_dict()
        assert all(own[name].equal(others[name]) for name in own)


def test_equal_seeds_give_equal_trainings_and_batches_do_not_depend_on_dropout(new_trainer):
    one, other = (_finish(new_trainer(dropout=0.3)) for _ in range(2))
    assert one.losses == other.losses
    assert _finish(new_trainer(dropout=0.2)).losses[0] != one.losses[0]


def test_the_average_of_the_weights_is_its_formula(new_trainer):
    trainer = new_trainer(ema=0.3)
    name = "blocks.0.mlp.0.weight"
    average = trainer.model.state_dict()[name].clone()
    for step in (1, 2, 3, 4):
        trainer.step()
        decay = min(0.3, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * trainer.model.state_dict()[name]
    own = trainer.model.state_dict()[name].clone()
    with trainer.learnt() as model:
        torch.testing.assert_close(model.state_dict()[name], average)
    assert trainer.model.state_dict()[name].equal(own)


def test_weights_that_two_layers_share_have_one_average(new_trainer):
    tied = new_trainer(ema=0.3)
    blocks = tied.model.blocks
    blocks[0].mlp_norm.weight = blocks[0].attention_norm.weight
    trainer = module.Trainer(tied.model, tied.data, tied.config, seed=0)
    _finish(trainer)
    own = blocks[0].mlp_norm.weight.detach().clone()
    with trainer.learnt():
        averaged = blocks[0].mlp_norm.weight
        assert not averaged.equal(own)
        assert averaged is blocks[0].attention_norm.weight


def test_the_weights_with_the_least_loss_on_samples_kept_aside_are_those_that_are_learnt(
    new_trainer, monkeypatch
):
    trainer = new_trainer(validation=0.4, validate_every="2 steps", steps=7)
    losses = iter([math.nan, 3.0, 1.0, 2.0])
    monkeypatch.setattr(trainer, "_validation_loss", lambda held_out: next(losses))
    weights = {}
    while not trainer.is_done:
        trainer.step()
        weights[trainer.steps_done] = copy.deepcopy(trainer.model.state_dict())
    assert [*trainer.validations] == [2, 4, 6, 7]
    with trainer.learnt() as model:
        assert all(value.equal(weights[6][name]) for name, value in model.state_dict().items())
    assert all(value.equal(weights[7][name]) for name, value in model.state_dict().items())


def test_the_best_weights_so_far_are_part_of_the_state(new_trainer, monkeypatch):
    def learnt_after(losses, trainer):
        monkeypatch.setattr(trainer, "_validation_loss", lambda held_out: losses.pop(0))
        _finish(trainer)
        with trainer.learnt() as model:
            return copy.deepcopy(model.state_dict())

    options = {"validation": 0.4, "validate_every": "2 steps"}
    expected = learnt_after([1.0, 3.0, 2.0], new_trainer(**options))
    trainer = new_trainer(**options)
    monkeypatch.setattr(trainer, "_validation_loss", lambda held_out: 1.0)
    for _ in range(3):
        trainer.step()
    again = new_trainer(**options)
    again.load_state(_loaded(_saved(trainer)))
    found = learnt_after([3.0, 2.0], again)
    assert all(value.equal(expected[name]) for name, value in found.items())


@pytest.mark.parametrize("ema", [None, 0.9])
def test_the_loss_of_validation_is_that_of_what_is_learnt_without_dropout(new_trainer, ema):
    trainer = new_trainer(validation=0.4, validate_every="1 step", dropout=0.5, ema=ema)
    trainer.step()
    held_out = trainer.data.validation
    batch = collate([held_out.get(row, 0) for row in range(len(held_out))])
    with torch.no_grad(), trainer.learnt() as model:
        losses = field_losses(model(batch.features, batch.real), batch)
    assert trainer.validations[1] == pytest.approx(float(sum(losses.values())), rel=1e-5)


def test_half_precision_computes_in_it_and_keeps_the_weights_in_single(new_trainer):
    trainer = new_trainer(precision="bfloat16")
    seen = []
    trainer.model.heads[0].register_forward_hook(
        lambda head, arguments, output: seen.append(output.dtype)
    )
    trainer.step()
    assert seen == [torch.bfloat16]
    assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}


def test_a_compiled_model_learns_the_same(new_trainer, monkeypatch):
    expected = _finish(new_trainer(steps=2)).losses
    compiled = []

    whole = torch.compile

    def without_code(model):  # making code takes half a minute
        compiled.append(model)
        return whole(model, backend="eager")

    monkeypatch.setattr(torch, "compile", without_code)
    trainer = new_trainer(steps=2, compile=True)
    assert compiled == [trainer.model]
    assert _finish(trainer).losses == pytest.approx(expected, rel=1e-5)
    assert not any(name.startswith("_orig_mod") for name in trainer.state()["model"])
