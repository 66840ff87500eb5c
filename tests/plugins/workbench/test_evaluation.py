"""Errors on held-out samples."""

import numpy as np
import pytest
import torch

from noether_plugins.workbench import evaluation as module
from noether_plugins.workbench.evaluation import evaluate, predict, predictor
from tests.plugins.workbench.tiny_task import TinyTask, TinyTaskConfig


def test_the_error_is_its_formula_averaged_over_samples(trainer):
    model, units, task = trainer.model, trainer.data.units, trainer.data.train.task
    found = evaluate(model, units, task.test)
    assert set(found.errors) == {"wall.pressure", "fluid.velocity", "fluid.heat"}
    for name in found.errors:
        group, field = name.split(".")
        ratios, ratios_of_mean = [], []
        for sample in task.test:
            true = sample.groups[group].fields[field]
            away = predictor(model, units)(sample)[group][field] - true
            mean = np.concatenate([each.groups[group].fields[field] for each in task.train]).mean(0)
            ratios.append(np.linalg.norm(away) / np.linalg.norm(true))
            ratios_of_mean.append(np.linalg.norm(mean - true) / np.linalg.norm(true))
        assert found.errors[name] == pytest.approx(np.mean(ratios), rel=1e-9)
        assert found.errors_of_mean[name] == pytest.approx(np.mean(ratios_of_mean), abs=1e-9)


def test_predictions_do_not_depend_on_how_many_samples_are_computed_at_once(trainer):
    model, units = trainer.model, trainer.data.units
    samples = TinyTask(TinyTaskConfig(is_equal=True), seed=1).train
    together = predict(model, units, samples)
    for sample, fields in zip(samples, together, strict=True):
        alone = predictor(model, units)(sample)
        for group, own in fields.items():
            for name, values in own.items():
                assert values.shape == sample.groups[group].fields[name].shape
                np.testing.assert_allclose(alone[group][name], values, atol=1e-5)


def test_a_model_that_predicts_the_mean_has_the_errors_of_the_mean(trainer):
    for head in trainer.model.heads:
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    found = evaluate(trainer.model, trainer.data.units, trainer.data.train.task.test)
    assert found.errors == pytest.approx(found.errors_of_mean)


def test_a_field_that_is_zero_everywhere_has_no_relative_error(trainer):
    task = trainer.data.train.task
    for sample in task.test:
        sample.groups["fluid"].fields["heat"][:] = 0
    task.test[0].groups["wall"].fields["pressure"][:] = 0
    found = evaluate(trainer.model, trainer.data.units, task.test)
    assert found.errors["fluid.heat"] is None
    assert found.errors_of_mean["fluid.heat"] is None
    assert found.errors["wall.pressure"] < 1


def test_many_points_are_not_computed_together(trainer, monkeypatch):
    monkeypatch.setattr(module, "_POINTS_AT_ONCE", 20)
    seen = []
    whole = module.predict
    monkeypatch.setattr(
        module,
        "predict",
        lambda model, units, some: seen.append(len(some)) or whole(model, units, some),
    )
    samples = TinyTask(TinyTaskConfig(is_equal=True), seed=1).train
    evaluate(trainer.model, trainer.data.units, samples)
    assert seen == [1] * 5
