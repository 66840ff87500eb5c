"""Weights for each domain: how domains are counted, and layers whose parameters have two names."""

import copy
import pickle
import re

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict
from torch.func import functional_call

from noether_core import TokenGroupError, TokenSpec
from noether_core.nn import layout_of
from noether_core.nn.domains import (
    DomainLinear,
    DomainRun,
    by_domain,
    number_domains,
    runs_of,
    runs_within,
)
from tests.plugins.attention.adapters import AdaptedLinear

BATCH, WIDE, NARROW = 2, 7, 5
RUNS = (DomainRun(1, 3), DomainRun(0, 4), DomainRun(1, 2))
NAMES = ["weight.0", "weight.1", "bias.0", "bias.1"]


def layout(**sizes):
    return layout_of([TokenSpec(name, size) for name, size in sizes.items()])


@pytest.mark.parametrize(
    ("sizes", "numbers", "runs"),
    [
        (
            {"volume": 5, "surface_anchors": 3, "surface_queries": 4},
            {"volume": 0, "surface": 1},
            ((0, 5), (1, 7)),
        ),
        # Groups without tokens do not count, and keep none apart; those in a cache count.
        (
            {"wake_a": 0, "surface_a": 3, "wake_b": 0, "surface_b": 4, "volume_a": 2},
            {"surface": 0, "volume": 1},
            ((0, 7), (1, 2)),
        ),
        (
            {"surface_a": None, "volume_a": None, "volume_b": 5},
            {"surface": 0, "volume": 1},
            ((1, 5),),
        ),
        (
            {"surface_a": None, "volume_a": None, "surface_b": 2, "volume_b": 5},
            {"surface": 0, "volume": 1},
            ((0, 2), (1, 5)),
        ),
    ],
)
def test_domains_are_counted_as_they_first_appear_among_groups_with_tokens(sizes, numbers, runs):
    found = number_domains(layout(**sizes), 2)
    assert list(found.items()) == list(numbers.items())
    assert runs_of(layout(**sizes), found) == runs


@pytest.mark.parametrize(
    ("sizes", "domains"),
    [
        ({"surface_a": 3, "surface_b": 0, "volume": 0}, "1: 'surface'"),
        ({"surface": 3, "volume": 4, "wake": None}, "3: 'surface', 'volume', 'wake'"),
        ({"surface": 0}, "0: none"),
    ],
)
def test_more_domains_or_fewer_are_refused_by_name(sizes, domains):
    message = (
        f"token_specs: num_types is 2, and the domains of groups with tokens are {domains}; "
        "a domain is what stands before the first underscore in the name of a group"
    )
    with pytest.raises(TokenGroupError, match=f"^{re.escape(message)}$"):
        number_domains(layout(**sizes), 2)


def test_groups_of_a_domain_that_lie_apart_are_refused_by_name():
    message = (
        "token_specs: the groups of domain 'surface' lie apart: 'volume' stands between "
        "'surface_a' and 'surface_b'; put them side by side"
    )
    with pytest.raises(TokenGroupError, match=f"^{message}$"):
        number_domains(layout(surface_a=3, volume=4, surface_b=5), 2)


def test_a_span_of_tokens_has_parts_of_their_domains():
    assert runs_within(RUNS, slice(2, 8)) == ((1, 1), (0, 4), (1, 1))
    assert runs_within(RUNS, slice(3, 5)) == ((0, 2),)
    assert runs_within(RUNS, slice(4, 4)) == ()


@pytest.fixture
def layer():
    return DomainLinear(WIDE, NARROW, bias=True, num_types=2).double()


def tokens(count=9):
    return torch.randn(BATCH, count, WIDE, dtype=torch.float64)


def test_each_token_is_projected_by_its_domain(layer):
    x, state = tokens(), layer.state_dict()
    domains = torch.tensor([1, 1, 1, 0, 0, 0, 0, 1, 1])
    weight, bias = (
        torch.stack([state[f"{leaf}.{number}"] for number in (0, 1)])[domains]
        for leaf in ("weight", "bias")
    )
    wanted = torch.einsum("bni,noi->bno", x, weight) + bias
    torch.testing.assert_close(layer(by_domain(x, RUNS)), wanted)
    assert layer(by_domain(tokens(0), ())).shape == (BATCH, 0, NARROW)


def test_pieces_of_one_sample_are_views():
    x = tokens()[:1]
    pieces = by_domain(x, RUNS).pieces
    assert {piece.untyped_storage().data_ptr() for piece in pieces} == {
        x.untyped_storage().data_ptr()
    }


def test_parameters_have_the_names_of_stored_weights_wherever_the_layer_stands(layer):
    model = nn.Sequential(layer, nn.Linear(NARROW, NARROW))
    for module, start in ((layer, ""), (model, "0.")):
        wanted = [start + name for name in NAMES]
        assert [name for name, _ in module.named_parameters()][:4] == wanted
        assert list(module.state_dict())[:4] == wanted
        assert set(get_model_state_dict(module)) == set(module.state_dict())
    assert model.get_parameter("0.bias.1") is layer.get_submodule("1").bias
    assert len(list(model.parameters())) == 6
    bare = DomainLinear(WIDE, NARROW, bias=False, num_types=3)
    assert [name for name, _ in bare.named_parameters()] == ["weight.0", "weight.1", "weight.2"]


def test_weights_are_loaded_assigned_copied_and_swapped_by_these_names(layer):
    x, twin = by_domain(tokens(), RUNS), DomainLinear(WIDE, NARROW, bias=True, num_types=2).double()
    y, state = layer(x), layer.state_dict()
    with torch.device("meta"):
        bare = DomainLinear(WIDE, NARROW, bias=True, num_types=2)
    before = twin(x)

    for given in (state, dict(layer.named_parameters())):
        assert torch.equal(functional_call(twin, given, (x,)), y)
    assert torch.equal(twin(x), before)
    twin.load_state_dict(state)
    bare.load_state_dict(state, assign=True)
    pickled = pickle.loads(pickle.dumps(layer))  # noqa: S301  our own bytes
    for other in (twin, bare, copy.deepcopy(layer), pickled):
        assert torch.equal(other(x), y)


def test_what_does_not_fit_is_reported_by_the_names_in_the_file(layer):
    state = layer.state_dict()
    wrong = {**state, "weight.2": state["weight.0"], "bias.1": torch.zeros(3)}
    del wrong["weight.1"]
    with pytest.raises(RuntimeError) as caught:
        layer.load_state_dict(wrong)
    _, missing, unexpected, misfit = [line.strip() for line in str(caught.value).splitlines()]
    assert missing == 'Missing key(s) in state_dict: "weight.1".'
    assert unexpected == 'Unexpected key(s) in state_dict: "weight.2".'
    assert misfit.startswith("size mismatch for bias.1: copying a param with shape torch.Size([3])")


def test_an_adapter_of_one_domain_acts_and_keeps_the_names_of_what_it_adapts(layer):
    x = tokens()
    plain = layer(by_domain(x, RUNS))
    layer.add_module("1", AdaptedLinear(layer.get_submodule("1")))
    adapted = layer(by_domain(x, RUNS))
    assert torch.equal(adapted[:, 3:7], plain[:, 3:7])
    assert not torch.isclose(adapted, plain)[:, :3].all(-1).any()
    assert set(layer.state_dict()) == {*NAMES, "1.down", "1.up"}
    layer.load_state_dict(layer.state_dict())
