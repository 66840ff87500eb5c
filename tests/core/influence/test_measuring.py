"""Influence is what derivatives say, whatever the variant says of itself."""

import math
import sys

import pytest
import torch
from torch import nn

from noether_core import PluginError, Registry, build, registry, structure
from noether_core.influence import block_norms, influence
from noether_core.influence.examples import example
from tests.fresh_environment import ROOT

HIDDEN, TOKENS = 6, 11


@pytest.fixture(scope="module")
def strangers():
    """Return a registry in which a package of others is."""
    source = str(ROOT / "tests" / "third_party" / "acme_window" / "src")
    sys.path.insert(0, source)
    try:
        from acme_window import noether_attention_variant

        known = Registry()
        known.register(noether_attention_variant())
        yield known
    finally:
        sys.path.remove(source)


def norms_by_hand(module, x):
    """Return the norms of full attention's derivatives with one head and no bias, as formulas."""
    query, key, value, out = (getattr(module, name).weight for name in ("q", "k", "v", "proj"))
    queries, keys, values = x @ query.T, x @ key.T, x @ value.T
    scale = 1 / math.sqrt(len(query))
    weights = (queries @ keys.T * scale).softmax(-1)
    means = weights @ values
    norms = torch.zeros(len(x), len(x), dtype=x.dtype)
    for i in range(len(x)):
        for j in range(len(x)):
            away = values[j] - means[i]
            block = weights[i, j] * (value + scale * torch.outer(away, queries[i] @ key))
            if i == j:  # through the query, which changes all weights of its row
                mean_key = weights[i] @ keys
                spread = torch.einsum("n,nd,ne->de", weights[i], values, keys)
                block = block + scale * (spread - torch.outer(means[i], mean_key)) @ query
            norms[i, j] = torch.linalg.norm(out @ block)
    return norms


def test_full_attention_has_the_derivatives_that_its_formula_has():
    module = build(
        "dot_product", hidden_dim=HIDDEN, num_heads=1, bias=False, init_weights="xavier"
    ).double()
    config = module.config
    call = example(registry().record_of(config), config, tokens=TOKENS, seed=0)

    found = influence(module, tokens=TOKENS)

    torch.testing.assert_close(found.norms, norms_by_hand(module, call.sources["x"][0]).detach())
    assert found.has_own_weights
    torch.testing.assert_close(found.shares.sum(dim=1), torch.ones(TOKENS).double())
    assert not found.is_zero.any()


def test_a_window_of_strangers_is_a_band_and_nothing_else(strangers):
    found = influence("acme_window", tokens=29, options={"window": 3}, registry=strangers)

    place = torch.arange(29)
    assert torch.equal(found.is_zero, (place[:, None] - place).abs() > 3)
    assert (found.norms[found.is_zero] == 0).all()
    assert found.options["window"] == 3


@pytest.mark.parametrize(
    ("type", "attended"),
    [
        ("self_anchor", {"surface": ["surface"], "volume": ["volume"]}),
        ("cross_anchor", {"surface": ["volume"], "volume": ["surface"]}),
        ("joint_anchor", {"surface": ["surface", "volume"], "volume": ["surface", "volume"]}),
    ],
)
def test_tokens_attend_to_anchors_of_their_branches_alone(type, attended):
    found = influence(type, tokens=23, options={"branches": ["surface", "volume"]})

    groups = [name for name, size in found.queries.items() for _ in range(size)]
    allowed = [
        [
            i == j or (key.endswith("_anchors") and key.partition("_")[0] in attended[branch])
            for j, key in enumerate(groups)
        ]
        for i, branch in enumerate(group.partition("_")[0] for group in groups)
    ]
    assert torch.equal(~found.is_zero, torch.tensor(allowed))
    assert found.keys == found.queries


def test_groups_attend_as_patterns_say():
    found = influence("mixed", tokens=13)

    assert list(found.queries.items()) == [("surface", 6), ("volume", 7)]
    assert [tuple(pattern.key_value_tokens) for pattern in found.patterns] == [
        ("surface",),
        ("surface", "volume"),
    ]
    expected = torch.zeros(13, 13, dtype=torch.bool)
    expected[:6, 6:] = True
    assert torch.equal(found.is_zero, expected)


@pytest.mark.parametrize("input_dim", [1, 3])
def test_points_beyond_the_radius_do_not_act(input_dim):
    options = {"radius": 0.45, "max_degree": 17, "input_dim": input_dim, "hidden_dim": 4}
    found = influence("irregular_nat", tokens=17, options=options)

    points = found.positions["tokens"]
    assert points.shape == (17, input_dim)
    assert torch.equal(found.is_zero, torch.cdist(points, points) > 0.45)
    assert 17 < (~found.is_zero).sum() < 17**2 / 2


def test_queries_are_no_columns_where_others_are_attended_to():
    found = influence("perceiver", tokens=12)

    assert (dict(found.queries), dict(found.keys)) == ({"queries": 8}, {"tokens": 12})
    assert found.norms.shape == (8, 12)


def test_tokens_of_a_context_are_further_columns():
    found = influence("gale", tokens=12)
    without = influence("gale", tokens=12, options={"context_dim": None})

    assert list(found.keys.items()) == [("tokens", 12), ("context", 3)]
    assert not found.is_zero.any()
    assert without.norms.shape == (12, 12)


@pytest.mark.parametrize(
    ("type", "options", "queries"),
    [
        ("perceiver", {"num_types": 2}, ["surface", "volume"]),
        ("mixed", {"num_types": 3}, ["domain1", "domain2", "domain3"]),
        ("dot_product", {"use_rope": True}, ["tokens"]),
        ("perceiver", {"use_rope": True}, ["queries"]),
        ("joint_anchor", {"use_rope": True, "num_types": 2}, None),
    ],
)
def test_calls_have_what_options_ask_for(type, options, queries):
    found = influence(type, tokens=12, options=options)

    assert queries in (None, list(found.queries))
    assert found.options.items() >= options.items()
    assert found.norms.any()


def test_tokens_in_another_order_permute_the_matrix():
    module = build("dot_product", hidden_dim=HIDDEN, num_heads=2, init_weights="xavier").double()
    x, order = torch.randn(1, TOKENS, HIDDEN).double(), torch.randperm(TOKENS)

    def norms(tokens):
        return block_norms(lambda sources: module(sources["x"]), {"x": tokens})

    torch.testing.assert_close(norms(x[:, order]), norms(x)[order][:, order])


def test_samples_that_act_on_each_other_are_derived_one_by_one():
    def function(sources):
        return sources["x"] + sources["x"].sum(dim=0, keepdim=True)

    norms = block_norms(function, {"x": torch.randn(1, 5, 3).double()})

    torch.testing.assert_close(norms, 2 * math.sqrt(3) * torch.eye(5).double())


def test_what_nothing_depends_on_has_zeros():
    sources = {"x": torch.randn(1, 5, 3).double(), "context": torch.randn(1, 2, 3).double()}

    norms = block_norms(lambda given: given["x"] * 1, sources)
    none = block_norms(lambda given: torch.ones(len(given["x"]), 4, 3).double(), sources)

    assert norms.shape == (5, 7)
    assert not norms[:, 5:].any()
    assert torch.equal(none, torch.zeros(4, 7).double())


def test_a_result_that_no_token_acts_on_is_a_row_of_zeros():
    found = influence("dot_product", tokens=5, options={"init_weights": "zeros"})

    assert found.is_zero.all()
    assert not found.shares.any()


class Faulty(nn.Module):
    """Attention of the config of `linear` that fails in the way of the class."""

    fault = "raises"

    def __init__(self, config):
        super().__init__()
        self.config = structure(config)

    def forward(self, x):
        if self.fault == "raises":
            raise KeyError("window")
        return {"pair": (x, x), "short": x[:, 1:], "not finite": (x * 0).sqrt()}[self.fault]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raises", "forward fails in a small call: KeyError: 'window'"),
        ("pair", "forward returns a tuple, wanted one tensor"),
        ("short", r"forward returns shape \(1, 4, 32\), wanted one tensor \(1, 5, features\)"),
        ("not finite", "derivatives of its results are not finite"),
    ],
)
def test_what_a_plugin_does_wrong_is_named(monkeypatch, fault, message):
    monkeypatch.setattr(Faulty, "fault", fault)
    monkeypatch.setattr("noether_core.building._module_class", lambda *_: Faulty)

    with pytest.raises(PluginError, match=message):
        influence("linear", tokens=5)


def test_neither_the_module_nor_torchs_generator_is_changed():
    module = build("linear", hidden_dim=HIDDEN, num_heads=2)
    state = torch.get_rng_state()

    influence(module, tokens=5)
    influence("linear", tokens=5, seed=3)

    assert torch.equal(torch.get_rng_state(), state)
    assert module.training
    assert {tensor.dtype for tensor in module.state_dict().values()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_a_seed_draws_weights_and_tokens():
    first, again, other = (influence("linear", tokens=5, seed=seed) for seed in (3, 3, 4))

    assert torch.equal(first.norms, again.norms)
    assert not torch.equal(first.norms, other.norms)
    assert other.seed == 4


def test_a_module_takes_no_options():
    with pytest.raises(TypeError, match="the module has its own"):
        influence(build("linear", hidden_dim=6, num_heads=2), options={"hidden_dim": 4})


def test_a_module_that_is_of_no_variant_is_refused():
    with pytest.raises(TypeError, match="Linear has no config of attention"):
        influence(nn.Linear(2, 2))
