"""How weights start, told by their statistics."""

import math
from typing import get_args

import pytest
import torch
from torch import nn

from noether_core.nn import init_weights_
from noether_core.schemas import InitWeightsMode

WIDE = 307


class TwoLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(WIDE, 211), nn.LayerNorm(211))
        self.output = nn.Linear(211, WIDE, bias=False)
        self.scale = nn.Parameter(torch.full((3,), 0.5))


@pytest.fixture
def fresh():
    def make(mode):
        torch.manual_seed(0)
        layers = TwoLayers()
        init_weights_(layers, mode, output=layers.output)
        return layers

    return make


@pytest.mark.parametrize("mode", ["truncnormal002", "truncnormal", "truncnormal002-identity"])
def test_truncated_normal_weights_have_deviation_002_and_far_cuts(fresh, mode):
    weight = fresh(mode).inner[0].weight
    count = weight.numel()
    assert abs(weight.mean()) < 4 * 0.02 / math.sqrt(count)
    assert abs(weight.std() / 0.02 - 1) < 4 / math.sqrt(2 * count)
    assert 3.5 * 0.02 < weight.abs().max() < 6 * 0.02


def test_only_the_identity_mode_zeroes_the_output(fresh):
    zero = {mode for mode in get_args(InitWeightsMode) if not fresh(mode).output.weight.any()}
    assert zero == {"truncnormal002-identity", "zeros"}


def test_xavier_weights_are_uniform_up_to_their_bound(fresh):
    weight = fresh("xavier").inner[0].weight
    bound = math.sqrt(6 / (WIDE + 211))
    assert 0.999 * bound < weight.abs().max() <= bound
    assert abs(weight.std() / (bound / math.sqrt(3)) - 1) < 0.02


def test_zeros_are_zeros(fresh):
    assert not fresh("zeros").inner[0].weight.any()


def test_torch_leaves_weights_and_biases_as_torch_made_them(fresh):
    torch.manual_seed(0)
    untouched = TwoLayers().state_dict()
    for name, value in fresh("torch").state_dict().items():
        assert torch.equal(value, untouched[name])


@pytest.mark.parametrize("mode", get_args(InitWeightsMode))
def test_biases_are_zero_but_for_torch(fresh, mode):
    assert bool(fresh(mode).inner[0].bias.any()) is (mode == "torch")


@pytest.mark.parametrize("mode", get_args(InitWeightsMode))
def test_parameters_outside_linear_layers_are_left_alone(fresh, mode):
    layers = fresh(mode)
    assert torch.equal(layers.scale, torch.full((3,), 0.5))
    assert torch.equal(layers.inner[1].weight, torch.ones(211))


@pytest.mark.parametrize("mode", get_args(InitWeightsMode))
def test_layers_without_memory_are_let_be(mode):
    with torch.device("meta"):
        layers = TwoLayers()
    init_weights_(layers, mode, output=layers.output)
    assert layers.output.weight.is_meta
