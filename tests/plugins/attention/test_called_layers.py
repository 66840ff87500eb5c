"""Whatever stands in the place of a linear layer is called: adapters, hooks, quantised layers."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, weight_norm

from noether_core.testing.measuring import Consumption
from noether_plugins.attention.irregular_nat import at_once, operation
from tests.plugins.attention.adapters import AdaptedLinear, Wrapped, linear_layers, replaced
from tests.plugins.attention.calls import STREAMED, VARIANTS, arguments_of, make
from tests.sampling import sampled

CASES = [(name, {}) for name in VARIANTS] + list(STREAMED.items()) + [("irregular_nat", None)]
each_case = pytest.mark.parametrize(
    ("name", "options"),
    CASES,
    ids=[f"{name}{'' if o == {} else ', streamed'}" for name, o in CASES],
)


@pytest.fixture
def made(name, options, monkeypatch):
    """A module in evaluation mode, which streams where its options say so."""
    if options is None:
        monkeypatch.setattr(operation, "_AT_ONCE", 0)
        monkeypatch.setattr(at_once, "_PAIRS_AT_ONCE", 4)
    module = make(name, **options or {}).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def results_and_gradients(module, arguments):
    """Return what a module makes with and without gradients, and the gradients of its tensors."""
    given = {
        key: value.clone().requires_grad_() if isinstance(value, torch.Tensor) else value
        for key, value in arguments.items()
    }
    with torch.no_grad():
        alone = module(**arguments)
    y = module(**given)
    weights = torch.arange(y.numel(), dtype=y.dtype).view_as(y).cos()
    tensors = [value for value in given.values() if isinstance(value, torch.Tensor)]
    return [alone, y, *torch.autograd.grad((y * weights).sum(), tensors)]


def assert_same(got, wanted):
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


@each_case
@pytest.mark.parametrize("adapter", [AdaptedLinear, Wrapped])
def test_an_adapter_does_what_merging_it_does(made, name, adapter):
    arguments, names = arguments_of(name), linear_layers(made)
    plain = made(**arguments)
    one_by_one = [[each] for each in names] if adapter is AdaptedLinear else []
    for own in [*one_by_one, names]:
        adapted = replaced(made, own, adapter)
        merged = replaced(adapted, own, lambda layer: layer.merged())
        got = results_and_gradients(adapted, arguments)
        assert_same(got, results_and_gradients(merged, arguments))
        assert not torch.allclose(got[0], plain), own


@each_case
def test_adapters_learn_as_they_would_beside_all_tokens(made, name):
    arguments, names = arguments_of(name), linear_layers(made)
    adapted = replaced(made, names, AdaptedLinear)
    y = adapted(**arguments)
    y.square().sum().backward()
    lost = [key for key, value in adapted.named_parameters() if value.grad is None]
    assert not lost


@each_case
def test_hooks_are_called(made, name):
    called = []
    for own in linear_layers(made):
        layer = made.get_submodule(own)
        before = layer.register_forward_pre_hook(lambda *_: called.append("before"))
        after = layer.register_forward_hook(lambda _, __, y: called.append("after") or y + 1)
        for with_gradients in (True, False):
            with torch.set_grad_enabled(with_gradients):
                made(**arguments_of(name))
            assert {"before", "after"} == set(called), own
            called.clear()
        before.remove()
        after.remove()


@each_case
def test_a_hook_that_changes_what_a_layer_returns_is_heeded(made, name):
    arguments, names = arguments_of(name), linear_layers(made)
    shifted = replaced(made, names, lambda layer: layer)
    for own in names:
        shifted.get_submodule(own).register_forward_hook(lambda _, __, y: 0.5 * y)

    def halved(layer):
        half = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        half.weight = nn.Parameter(0.5 * layer.weight)
        half.bias = None if layer.bias is None else nn.Parameter(0.5 * layer.bias)
        return half

    wanted = results_and_gradients(replaced(made, names, halved), arguments)
    assert_same(results_and_gradients(shifted, arguments), wanted)


CHANGES_OF_LAYERS = ["weight_norm", "parametrization", "prune", "forward"]


@each_case
@pytest.mark.parametrize("change", CHANGES_OF_LAYERS)
def test_weights_that_are_computed_are_computed_anew(made, name, change):
    arguments, names = arguments_of(name), linear_layers(made)
    changed = replaced(made, names, CHANGES[change])
    for own in names:
        layer = changed.get_submodule(own)
        with torch.no_grad():
            for key, parameter in layer.named_parameters():
                if key != "bias":
                    parameter.mul_(1.5)  # the weight that lies about is now a stale one

    def plain(name):
        layer = changed.get_submodule(name)
        with torch.no_grad():
            zeros, ones = torch.zeros_like(layer_input(layer)), layer_input(layer)
            bias, columns = layer(zeros)[0], layer(ones)
        own = nn.Linear(ones.shape[1], bias.shape[0])
        own.weight, own.bias = nn.Parameter((columns - bias).t()), nn.Parameter(bias)
        return own

    unchanged = copy.deepcopy(made)
    for own in names:
        parent, _, last = own.rpartition(".")
        setattr(unchanged.get_submodule(parent), last, plain(own))
    wanted = results_and_gradients(unchanged, arguments)
    assert_same(results_and_gradients(changed, arguments), wanted)


def layer_input(layer):
    return torch.eye(layer.in_features, dtype=torch.float64)


def with_weight_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return weight_norm(layer)


def with_own_forward(layer):
    layer.forward = lambda x: 0.5 * nn.Linear.forward(layer, x)
    return layer


CHANGES = {
    "weight_norm": with_weight_norm,
    "parametrization": parametrizations.weight_norm,
    "prune": lambda layer: prune.l1_unstructured(layer, "weight", amount=0.5),
    "forward": with_own_forward,
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("is_streamed", [False, True])
def test_quantised_layers_are_called(name, is_streamed, monkeypatch):
    if is_streamed and name == "irregular_nat":
        monkeypatch.setattr(operation, "_AT_ONCE", 0)
    options = STREAMED.get(name, {}) if is_streamed else {}
    module, arguments = make(name, **options).eval(), arguments_of(name, torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, torch.qint8)
    with torch.no_grad():
        y, wanted = quantised(**arguments), module(**arguments)
    assert 0 < (y - wanted).abs().max() < 0.1 * wanted.abs().max()


@pytest.mark.parametrize("name", STREAMED)
def test_dropout_of_an_adapter_is_the_same_wherever_a_token_is_weighed(name):
    class Dropping(AdaptedLinear):
        def forward(self, x):
            return nn.Linear.forward(self, nn.functional.dropout(x, 0.5))

    module = make(name, chunk_size=4).double()
    dropping = replaced(module, linear_layers(module), Dropping)
    arguments = arguments_of(name)
    x = next(value for value in arguments.values()).clone().requires_grad_()
    arguments = {**arguments, next(iter(arguments)): x}
    torch.manual_seed(5)
    first = dropping(**arguments)
    torch.manual_seed(5)
    again = dropping(**arguments)
    torch.testing.assert_close(again, first, rtol=0, atol=0)
    (grad,) = torch.autograd.grad(first.sum(), x)
    assert grad.isfinite().all()


def test_plusplus_gathers_and_reads_by_the_same_noise():
    module = make("transolver_plusplus", chunk_size=4).double()
    adapted = replaced(module, linear_layers(module), AdaptedLinear)
    merged = replaced(adapted, linear_layers(module), lambda layer: layer.merged())
    arguments = arguments_of("transolver_plusplus")
    torch.manual_seed(3)
    y = adapted(**arguments)
    torch.manual_seed(3)
    torch.testing.assert_close(y, merged(**arguments))


@pytest.mark.parametrize(
    "name",
    sampled(["transolver", "transolver_plusplus", "irregular_nat", "flare"], "transolver", "flare"),
)
def test_compiled_modules_call_adapters(name):
    module = make(name).double().eval()
    adapted = replaced(module, linear_layers(module), AdaptedLinear)
    arguments = arguments_of(name)
    with torch.no_grad():
        wanted = adapted(**arguments)
        for count in (1, 2):
            compiled = torch.compile(adapted, backend="eager", fullgraph=True, dynamic=count == 2)
            torch.testing.assert_close(compiled(**arguments), wanted)
        hooked = torch.compile(module, backend="eager", fullgraph=True)
        wanted = module(**arguments)
        torch.testing.assert_close(hooked(**arguments), wanted)


@pytest.mark.parametrize("name", ["transolver", "transolver_plusplus"])
def test_layers_that_are_called_hold_tokens_results_and_one_chunk(name):
    module = make(name, hidden_dim=16, num_heads=2, num_slices=4, chunk_size=64)
    module.q.register_forward_hook(lambda *_: None)
    beyond = []
    for tokens in (256, 1024):
        x = torch.randn(1, tokens, 16, requires_grad=True)
        with Consumption() as forward:
            y = module(x)
        cotangent = torch.ones_like(y)
        with Consumption() as backward:
            y.backward(cotangent)
        beyond.append((forward.peak - y.nbytes, backward.peak - x.nbytes))
    growth = max(more - less for less, more in zip(*beyond, strict=True))
    assert growth < 0.2 * (1024 - 256) * 16 * 4
