"""Errors on held-out samples."""

import math

import pytest
import torch

from noether_plugins.workbench.data import Units, make_model
from noether_plugins.workbench.evaluation import mean_errors, model_errors, predict


def test_the_error_of_the_mean_is_its_formula(batch):
    errors = mean_errors(batch, Units.of(batch))
    for name, field in batch.fields.items():
        mean = field.mean(dim=(0, 1))
        formula = sum((mean - each).norm() / each.norm() for each in field) / len(batch)
        assert math.isclose(errors[name], formula, rel_tol=1e-5)


def test_predictions_do_not_depend_on_how_many_samples_are_computed_at_once(
    small, batch, monkeypatch
):
    model, units = make_model(small), Units.of(batch)
    together = predict(model, batch.inputs, units)
    monkeypatch.setattr("noether_plugins.workbench.evaluation._SAMPLES_AT_ONCE", 2)
    for name, field in predict(model, batch.inputs, units).items():
        assert field.shape == batch.fields[name].shape
        assert torch.allclose(field, together[name], atol=1e-5)


def test_a_model_that_predicts_the_mean_has_the_errors_of_the_mean(small, batch):
    model, units = make_model(small), Units.of(batch)
    for head in model.heads.values():
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    assert model_errors(model, batch, units) == pytest.approx(mean_errors(batch, units))
