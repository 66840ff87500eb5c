"""Layers that FSDP2 shards one by one: they are called, where tokens stream too."""

import copy

import pytest
import torch
from torch import distributed
from torch.distributed.tensor import DTensor

from tests.plugins.attention.adapters import linear_layers
from tests.plugins.attention.calls import STREAMED, VARIANTS, arguments_of, make


@pytest.fixture(scope="module")
def shard():
    """What shards a layer, over one process."""
    if not distributed.is_available() or not distributed.is_gloo_available():
        pytest.skip("torch was built without gloo")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    mesh = init_device_mesh("cpu", (1,))
    yield lambda layer: fully_shard(layer, mesh=mesh)
    distributed.destroy_process_group()


# A caution about work in place, which no variant does with what a layer returned.
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module")
@pytest.mark.parametrize("name", VARIANTS)
def test_sharded_layers_give_the_numbers_of_whole_ones(name, shard):
    module, arguments = make(name, **STREAMED.get(name, {})).double(), arguments_of(name)
    sharded = copy.deepcopy(module)
    for own in linear_layers(module):
        shard(sharded.get_submodule(own))

    results = []
    for each in (module, sharded):
        torch.manual_seed(3)
        y = each(**arguments)
        y.square().sum().backward()
        grads = [whole(parameter.grad) for parameter in each.parameters()]
        with torch.no_grad():
            torch.manual_seed(3)
            results.append([y, each(**arguments), *grads])
    torch.testing.assert_close(results[1], results[0])


def whole(gradient):
    return gradient.full_tensor() if isinstance(gradient, DTensor) else gradient
