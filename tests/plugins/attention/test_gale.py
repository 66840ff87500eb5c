"""Slices that attend to a context as well, against the formula, written out in float64."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from noether_core import ConfigError, ShapeError, build
from noether_core.errors import UnsupportedArgumentError
from noether_core.nn import attend_in_parts
from noether_core.nn.slices import SliceContext
from noether_core.nn.slices import context as slice_context
from noether_core.nn.slices.decomposition import run_at_once
from noether_core.nn.slices.operator import _attend, _attend_backward, run_backward, run_forward
from noether_core.testing.measuring import Consumption
from noether_plugins.attention.gale.config import GALEAttentionConfig
from noether_plugins.attention.gale.module import GALEAttention
from tests.plugins.attention.adapters import AdaptedLinear
from tests.plugins.attention.formulas import (
    assert_dropout_of_context,
    assert_same_numbers,
    linear,
    mixed_with_context,
)

BATCH, HEADS, TOKENS, WIDTH, SLICES, CONTEXT, CONTEXT_WIDTH = 2, 3, 11, 5, 7, 17, 13
HIDDEN = HEADS * WIDTH

WEIGHTED, CONCATENATED = {"mixing": "weighted"}, {"mixing": "concat_project"}
STREAMED = {"chunk_size": 4}
FORMS = {
    "held": {},
    "streamed": STREAMED,
    "streamed, folded": {**STREAMED, "num_slices": 3},
    "streamed, layers over both": {**STREAMED, **CONCATENATED},
    "held, layers over both": CONCATENATED,
    "without bias": {**STREAMED, **CONCATENATED, "bias": False},
    "bounded": {**STREAMED, "temperature_bounds": (0.4, 0.6), "slice_eps": 0.3},
    "bounded, held": {"temperature_bounds": (0.4, 0.6), "slice_eps": 0.3},
}
CONTEXTS = {
    "no context": None,
    "for all heads": (BATCH, CONTEXT, CONTEXT_WIDTH),
    "of each head": (BATCH, HEADS, CONTEXT, CONTEXT_WIDTH),
    "empty": (BATCH, 0, CONTEXT_WIDTH),
}


def make(**options):
    """Return a module in float64, all of whose weights differ."""
    sizes = {"hidden_dim": HIDDEN, "num_heads": HEADS, "num_slices": SLICES}
    given = {**sizes, "context_dim": CONTEXT_WIDTH, "init_weights": "torch", **options}
    module = GALEAttention(GALEAttentionConfig(**given)).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        module.temperature.copy_(torch.tensor([0.3, 0.5, 0.8]).view(1, 1, HEADS, 1))
    return module


def twin(module, **options):
    """Return a module of other options with the weights of another."""
    other = make(**{**_options(module), **options})
    other.load_state_dict(module.state_dict())
    return other


def _options(module):
    names = ("mixing", "num_slices", "bias", "temperature_bounds", "slice_eps", "dropout")
    return {name: getattr(module.config, name) for name in names}


def tokens(count=TOKENS):
    return torch.randn(BATCH, count, HIDDEN, dtype=torch.float64, requires_grad=True)


def context_of(shape):
    return None if shape is None else torch.randn(shape, dtype=torch.float64, requires_grad=True)


def formula(module, x, context=None, real=None):
    """Return the output for tokens of which those that are *real* take part."""
    state, config = dict(module.named_parameters()), module.config
    real = torch.ones(x.shape[:2], dtype=torch.bool) if real is None else real
    f, states = (
        linear(state, name, x).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
        for name in ("in_project_fx", "in_project_x")
    )
    temperature = state["temperature"].view(1, HEADS, 1, 1)
    if config.temperature_bounds is not None:
        least, largest = config.temperature_bounds
        temperature = temperature.clamp(least, largest)
    weights = (linear(state, "in_project_slice", states) / temperature).softmax(-1)
    weights = torch.einsum("bhng,bn->bhng", weights, real.double())
    sums = torch.einsum("bhng,bhnd->bhgd", weights, f)
    slices = sums / (weights.sum(2)[..., None] + config.slice_eps)

    q, k, v = linear(state, "qkv_project", slices).split(WIDTH, -1)
    attention = (torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(WIDTH)).softmax(-1)
    mixed = torch.einsum("bhij,bhjd->bhid", attention, v)
    if context is not None:
        by_head = context if context.dim() == 4 else context[:, None]
        mixed = mixed_with_context(state, mixed, slices, by_head, WIDTH**-0.5)
    read = torch.einsum("bhng,bhgd->bnhd", weights, mixed)
    return linear(state, "out_linear", read.flatten(-2))


def reached(module, context):
    """Return the tensors that a call gives gradients."""
    named = module.named_parameters()
    if context is not None and context.numel():
        return [context, *(parameter for _, parameter in named)]
    unreached = ("cross_", "state_mixing", "concat_project")
    return [parameter for name, parameter in named if not name.startswith(unreached)]


@pytest.mark.parametrize("shape", CONTEXTS.values(), ids=CONTEXTS)
@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_it_is_its_formula(options, shape):
    module, x, context = make(**options), tokens(), context_of(shape)
    got = module(x, context=context)
    wanted = formula(module, x, context)
    assert_same_numbers(got, wanted, [x, *reached(module, context)])


@pytest.mark.parametrize("options", [{}, STREAMED], ids=str)
def test_padding_gives_nothing_and_gets_the_bias_of_the_output(options):
    real = torch.arange(TOKENS) < torch.tensor([[7], [0]])
    module, x, context = make(**options), tokens(), context_of(CONTEXTS["for all heads"])
    with torch.no_grad():
        x[~real] = math.nan
    y = module(x, context=context, key_padding_mask=real)
    whole = formula(module, x.detach().nan_to_num(0.0), context, real)
    torch.testing.assert_close(y[real], whole[real], rtol=0, atol=1e-12)
    assert torch.equal(y[~real], module.out_linear.bias.expand_as(y[~real]))


@pytest.mark.parametrize("mixing", [WEIGHTED, CONCATENATED], ids=str)
def test_a_large_context_goes_through_kernels_with_the_same_numbers(mixing, monkeypatch):
    module, x = make(**STREAMED, **mixing), tokens()
    context = context_of(CONTEXTS["of each head"])
    monkeypatch.setattr(slice_context, "_MOST_WEIGHTS", 0)
    got = module(x, context=context)
    assert_same_numbers(got, formula(module, x, context), [x, *reached(module, context)])


IN_PLACE = {
    operation: lambda total, left, right, *_, **__: 2 * math.prod(left) * right[-1]
    for operation in (torch.ops.aten.baddbmm_, torch.ops.aten.addmm_)
}
"""Products that torch's counter leaves out."""


@pytest.mark.parametrize("mixing", [WEIGHTED, CONCATENATED], ids=str)
def test_the_operator_keeps_the_rules_of_torch_and_counts_what_a_context_takes(mixing):
    module, x = make(**STREAMED, **mixing), tokens()
    projected = module.project_context(context_of(CONTEXTS["of each head"]), x)
    weights = SliceContext(module, projected).weights(SLICES)
    operands, settings = module.streamed(x)
    operands = operands._replace(**weights._asdict())
    operands = operands._make(
        None if each is None else each.detach().requires_grad_() for each in operands
    )
    settings = settings._replace(num_heads=HEADS, tile_size=4)
    torch.library.opcheck(_attend, (*operands, *settings))

    with torch.no_grad():
        with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as inner:
            y, sums = run_forward(operands, settings)
            run_backward(y, sums, operands, settings)
        with FlopCounterMode(display=False) as told:
            _attend(*operands, *settings)
            _attend_backward(y, *sums, *operands, *settings)
        assert told.get_total_flops() == inner.get_total_flops()
        torch.testing.assert_close(run_at_once(operands, settings).y, y, rtol=0, atol=1e-12)


def test_a_graph_takes_contexts_of_any_size():
    module, x, context = make(), tokens().detach(), torch.randn(BATCH, CONTEXT, CONTEXT_WIDTH)
    sizes = {"x": {1: torch.export.Dim("tokens")}, "context": {1: torch.export.Dim("context")}}
    arguments = {"context": context.double()}
    graph = torch.export.export(module, (x,), arguments, dynamic_shapes=sizes, strict=False)
    other = {"context": torch.randn(BATCH, 2, CONTEXT_WIDTH).double()}
    got, wanted = graph.module()(x[:, :5], **other), module(x[:, :5], **other)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layer", ["cross_q", "cross_k", "cross_v", "concat_project.0"])
def test_an_adapter_on_a_layer_of_the_context_is_called_where_tokens_are_streamed(layer):
    module, x = make(**STREAMED, **CONCATENATED), tokens()
    context = context_of(CONTEXTS["for all heads"])
    plain = module(x, context=context)
    parent, _, name = layer.rpartition(".")
    adapted = AdaptedLinear(module.get_submodule(layer))
    setattr(module.get_submodule(parent), name, adapted)
    adapted_y = module(x, context=context)
    assert not torch.allclose(adapted_y, plain)

    held = make(**CONCATENATED)
    setattr(held.get_submodule(parent), name, adapted)
    held.load_state_dict(module.state_dict())
    torch.testing.assert_close(adapted_y, held(x, context=context), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mixing", [WEIGHTED, CONCATENATED], ids=str)
def test_dropout_drops_the_same_in_every_form(mixing):
    held, x = make(dropout=0.5, **mixing).train(), tokens()
    context, outcomes = context_of(CONTEXTS["for all heads"]), []
    for module in (held, twin(held, **STREAMED).train()):
        torch.manual_seed(5)
        y = module(x, context=context)
        outcomes.append([y, *torch.autograd.grad(y.sin().sum(), [x, context])])
    for one, other in zip(*outcomes, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert not torch.allclose(held.eval()(x, context=context), outcomes[0][0])


@pytest.mark.parametrize("options", [{}, STREAMED, {"dropout": 0.5}], ids=str)
def test_parts_of_the_tokens_get_what_all_get_at_once(options):
    module = make(**options).train("dropout" in options)
    x, context = tokens(), context_of(CONTEXTS["for all heads"])
    torch.manual_seed(5)
    wanted = module(x, context=context)
    torch.manual_seed(5)
    parts = list(attend_in_parts(module, x.split([4, 0, 7], dim=1), context=context))
    assert_same_numbers(torch.cat(parts, dim=1), wanted, [x, *reached(module, context)])


@pytest.mark.parametrize("is_recorded", [False, True])
def test_memory_beyond_tokens_and_results_does_not_grow_with_the_tokens(is_recorded):
    module, peaks = make(chunk_size=16), []
    context = context_of(CONTEXTS["for all heads"])
    for count in (128, 256):
        x = tokens(count)
        with torch.set_grad_enabled(is_recorded), Consumption() as consumption:
            y = module(x, context=context)
            if is_recorded:
                y.sum().backward()
        peaks.append(consumption.peak - y.nbytes * (2 if is_recorded else 1))
    assert abs(peaks[0] - peaks[1]) < 64 * 8


def test_a_context_without_its_width_in_the_config_is_refused_by_name():
    module = make(context_dim=None)
    with pytest.raises(UnsupportedArgumentError, match=r"'context': the config has no context_dim"):
        module(tokens(), context=context_of(CONTEXTS["for all heads"]))
    assert not [name for name in module.state_dict() if name.startswith(("cross", "state"))]


def test_a_context_of_another_width_is_refused_with_both_shapes():
    with pytest.raises(
        ShapeError, match=r"context: got shape \(2, 17, 12\), wanted .*\.\.\., 13\)"
    ):
        make()(tokens(), context=torch.randn(BATCH, CONTEXT, 12).double())


def test_bounds_of_the_temperature_pass_gradients_at_their_ends_and_none_beyond():
    module = make(temperature_bounds=(0.5, 0.7))
    (gradient,) = torch.autograd.grad(module(tokens()).square().sum(), module.temperature)
    assert [bool(each) for each in gradient.flatten()] == [False, True, False]


@pytest.mark.parametrize("bounds", [(5.0, 0.5), (0.0, 1.0), (1.0,), 3.0])
def test_bounds_that_are_none_are_refused(bounds):
    with pytest.raises(ConfigError, match="temperature_bounds"):
        make(temperature_bounds=bounds)


def test_parameters_have_the_names_and_shapes_of_stored_weights():
    shapes = {name: tuple(value.shape) for name, value in make().state_dict().items()}
    square = ("in_project_x", "in_project_fx", "out_linear")
    assert shapes == {
        "temperature": (1, 1, HEADS, 1),
        "state_mixing": (),
        **{f"{name}.weight": (HIDDEN, HIDDEN) for name in square},
        **{f"{name}.bias": (HIDDEN,) for name in square},
        "in_project_slice.weight": (SLICES, WIDTH),
        "in_project_slice.bias": (SLICES,),
        "qkv_project.weight": (3 * WIDTH, WIDTH),
        "cross_q.weight": (WIDTH, WIDTH),
        "cross_k.weight": (WIDTH, CONTEXT_WIDTH),
        "cross_v.weight": (WIDTH, CONTEXT_WIDTH),
        **{f"cross_{name}.bias": (WIDTH,) for name in "qkv"},
    }
    layers = make(**CONCATENATED).state_dict()
    assert layers["concat_project.0.weight"].shape == (WIDTH, 2 * WIDTH)
    assert "state_mixing" not in layers


def test_it_starts_with_slices_apart_and_an_even_mixture():
    module = build("gale", hidden_dim=HIDDEN, num_heads=HEADS, num_slices=4, context_dim=3)
    weight = module.in_project_slice.weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(4), rtol=0, atol=1e-5)
    with torch.no_grad():
        module.temperature.fill_(3.0)
        module.state_mixing.fill_(3.0)
    module.reset_parameters()
    assert torch.equal(module.temperature, torch.full((1, 1, HEADS, 1), 0.5))
    assert module.state_mixing == 0


def test_dropout_of_the_context_follows_the_seed_and_is_right_on_average():
    module, context = make(dropout=0.3), context_of(CONTEXTS["of each head"])[:1]
    assert_dropout_of_context(module, tokens()[:1], context)
