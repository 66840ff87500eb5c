"""Modules looked at by others: `torch.jit.trace`, the meta device, and counts of operations."""

import warnings

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from noether_core.schemas.schema import plan_of
from noether_plugins.attention.irregular_nat import operation
from tests.plugins.attention.calls import (
    BATCH,
    HIDDEN,
    TOKENS,
    VARIANTS,
    arguments_of,
    each_tensor,
    make,
)

every_variant = pytest.mark.parametrize("name", VARIANTS)


class Positional(torch.nn.Module):
    """A module called with its tensors in order, as tracing wants it."""

    def __init__(self, module, arguments):
        super().__init__()
        self.module, self.arguments = module, arguments
        self.names = [key for key, value in arguments.items() if isinstance(value, torch.Tensor)]

    def tensors(self, arguments):
        return tuple(arguments[key] for key in self.names)

    def forward(self, *tensors):
        return self.module(**{**self.arguments, **dict(zip(self.names, tensors, strict=True))})


def made(name, streamed):
    has_chunks = "chunk_size" in plan_of(VARIANTS[name].config).options
    return make(name, **({"chunk_size": 4} if streamed and has_chunks else {})).double().eval()


@every_variant
@pytest.mark.parametrize("streamed", [False, True])
def test_a_trace_computes_what_was_traced(name, streamed):
    module, few = made(name, streamed), arguments_of(name, count=6)
    called = Positional(module, few)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(called, called.tensors(few), check_trace=False)
        torch.testing.assert_close(traced(*called.tensors(few)), module(**few))
        if VARIANTS[name].interface != "tokens":  # groups are part of a trace
            more = arguments_of(name, count=TOKENS)
            torch.testing.assert_close(traced(*called.tensors(more)), module(**more))


@every_variant
@pytest.mark.parametrize("streamed", [False, True])
def test_a_call_on_the_meta_device_has_the_shape_of_its_result(name, streamed):
    module, arguments = made(name, streamed).to("meta"), arguments_of(name)
    on_meta = each_tensor(lambda tensor: tensor.to("meta"), arguments)
    wanted = next(value.shape for value in arguments.values())
    y = module(**on_meta)
    y.sum().backward()
    with torch.no_grad():
        assert module(**on_meta).shape == y.shape == wanted


def counted(module, arguments):
    with FlopCounterMode(display=False) as counter:
        module(**arguments).sum().backward()
    return counter


@every_variant
def test_operations_are_counted_where_no_gradient_is_needed(name):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        made(name, streamed=False)(**arguments_of(name))
    held = counted(made(name, streamed=False), arguments_of(name)).get_total_flops()
    assert 0.3 * held <= counter.get_total_flops() <= 0.5 * held


@every_variant
def test_operations_are_counted_where_tokens_stream(name, monkeypatch):
    held = counted(made(name, streamed=False), arguments_of(name)).get_total_flops()
    monkeypatch.setattr(operation, "_AT_ONCE", 0)
    streamed = counted(made(name, streamed=True), arguments_of(name)).get_total_flops()
    assert 0.9 * held <= streamed <= 2 * held


def test_pairs_of_neighbours_are_counted_as_products(monkeypatch):
    module, arguments = made("irregular_nat", streamed=False), arguments_of("irregular_nat")
    held = counted(module, arguments).get_total_flops()
    monkeypatch.setattr(operation, "_AT_ONCE", 0)
    counts = counted(module, arguments).get_flop_counts()["Global"]
    pairs = BATCH * TOKENS * min(module.max_degree, TOKENS)

    # Torch counts the bias where all pairs are gathered at once, and no sums over neighbours.
    of_sums = 2 * pairs * HIDDEN * (2 + 4)
    of_features = 2 * pairs * module.relpos_fc1.weight.numel()  # made again for gradients
    of_positions = 2 * pairs * module.relpos_fc1.weight.numel()  # have no gradient here
    assert sum(counts.values()) == held + of_sums + of_features + of_positions
    assert torch.ops.noether.attend_to_neighbours_backward in counts
