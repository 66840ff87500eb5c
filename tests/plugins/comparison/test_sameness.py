"""Rows that are one computation."""

from __future__ import annotations

import pytest

from noether_core import structure
from noether_core.building import make_task
from noether_plugins.comparison.same_models import same_models
from noether_plugins.workbench.experiment import Experiment

_SIZES = {"surface": 13, "volume": 29, "points": 37}


def _experiment(task, **attention):
    options = {"hidden_dim": 12, "num_heads": 2, **attention}
    return structure(
        {"task": {"type": task}, "attention": options, "model": {"depth": 1}}, Experiment
    )


def _same(task, *attentions):
    """Return the groups of options, by their numbers, that are one computation for a task."""
    experiments = [_experiment(task, **each) for each in attentions]
    layout = make_task(experiments[0].task, seed=0).layout
    return same_models(experiments, layout, {group: _SIZES[group] for group in layout.groups})


def _all_variants(layout):
    """Return options of every built-in variant for points of a layout."""
    slices, latents = {"num_slices": 5}, {"num_latents": 5}
    groups = list(layout.groups)
    branches = [{"branches": groups}] if len(groups) > 1 else []
    return [
        {"type": "perceiver"},
        {"type": "transolver", **slices},
        {"type": "dot_product"},
        {"type": "transolver_plusplus", **slices},
        {"type": "flare", **latents},
        {"type": "mixed"},
        {"type": "flare_plusplus", **latents},
        {"type": "gale", **slices},
        {"type": "gale_flare", **latents},
        {"type": "galerkin"},
        {"type": "induced_set", **latents},
        {"type": "linear"},
        {"type": "irregular_nat", "input_dim": layout.coordinates, "radius": 1.0},
        {"type": "self_anchor", "branches": groups},
        *[{"type": "cross_anchor", **each} for each in branches],
        *[{"type": "joint_anchor", **each} for each in branches],
    ]


@pytest.mark.parametrize("task", ["airfoil", "darcy"])
def test_of_the_built_in_variants_three_are_one_computation(task):
    layout = make_task(_experiment(task, type="linear").task, seed=0).layout
    variants = _all_variants(layout)
    groups = [[variants[number]["type"] for number in group] for group in _same(task, *variants)]
    assert groups == [["perceiver", "dot_product", "mixed"]]


def test_equal_options_are_one_computation_and_others_are_not():
    assert _same(
        "darcy",
        {"type": "linear"},
        {"type": "linear"},
        {"type": "linear", "num_heads": 3},
        {"type": "irregular_nat", "input_dim": 2, "radius": 100.0},
        {"type": "irregular_nat", "input_dim": 2, "radius": 0.5},
    ) == [[0, 1]]


def test_neighbours_that_are_all_there_are_in_samples_of_a_task_may_not_be_elsewhere():
    near = {"type": "irregular_nat", "input_dim": 2, "radius": 5.0}
    assert _same("darcy", near, {**near, "radius": 20.0}) == []
    assert _same("darcy", near, {**near, "radius": 5.0}) == [[0, 1]]


def test_options_that_matter_in_training_alone_make_rows_differ():
    dropped = {"type": "dot_product", "dropout": 0.5}
    assert _same("darcy", {"type": "dot_product"}, dropped, dropped) == [[1, 2]]


def test_rotations_keep_the_three_together():
    rotated = [{"type": name, "use_rope": True} for name in ("mixed", "perceiver", "dot_product")]
    plain = [{"type": "mixed"}]
    assert _same("darcy", *plain, *rotated) == [[1, 2, 3]]
