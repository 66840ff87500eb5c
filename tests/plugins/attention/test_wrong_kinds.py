"""Arguments of a wrong kind: the error names the argument, what it got and what is wanted."""

import pytest
import torch

from noether_core import AnyAttention, NoetherError
from tests.plugins.attention.adapters import AdaptedLinear, linear_layers, replaced
from tests.plugins.attention.calls import (
    CONTEXT_WIDTH,
    HIDDEN,
    TOKENS,
    VARIANTS,
    arguments_of,
    make,
    optional_arguments,
    options_of,
)

every_variant = pytest.mark.parametrize("name", VARIANTS)


def wrong(value):
    """Yield what stands in the place of an argument by mistake, each with a word of its error."""
    yield 3, "int"
    yield torch.ones(2, TOKENS, HIDDEN).numpy(), "ndarray"
    if isinstance(value, torch.Tensor):
        yield value.tolist(), "list"
        yield value.to("meta"), "on meta"
        yield value.to_sparse(), "sparse"
        yield torch.nested.nested_tensor(list(value), layout=torch.jagged), "nested"


def call_of(name):
    """Return every argument that a variant takes, and its module."""
    taken = VARIANTS[name].capabilities
    options = {"use_rope": True} if "rope" in taken else {}
    options |= {"context_dim": CONTEXT_WIDTH} if "context" in taken else {}
    module = make(name, **options).eval()
    arguments = arguments_of(name, torch.float32)
    for key, (capability, values) in optional_arguments(name).items():
        if capability in taken and key != "positions":
            arguments[key] = values[key]
    return module, arguments


@every_variant
def test_an_argument_of_a_wrong_kind_is_named(name):
    module, arguments = call_of(name)
    module(**arguments)
    for key, value in arguments.items():
        for other, got in wrong(value):
            with pytest.raises(NoetherError, match=rf"^{key}: .*{got}"):
                module(**{**arguments, key: other})


@every_variant
def test_tokens_that_are_not_of_the_dtype_of_the_weights_are_named(name):
    module, arguments = make(name), arguments_of(name, torch.float32)
    for key in arguments.keys() & {"x", "q", "kv"}:
        for dtype in (torch.float64, torch.float16):
            with pytest.raises(NoetherError, match=rf"^{key}: .* pass {key}.to\(torch.float32\)$"):
                module(**{**arguments, key: arguments[key].to(dtype)})
        with torch.autocast("cpu", torch.bfloat16):
            module(**{**arguments, key: arguments[key].bfloat16()})
            with pytest.raises(NoetherError, match=rf"^{key}: got torch.float64"):
                module(**{**arguments, key: arguments[key].double()})


@every_variant
def test_layers_that_somebody_replaced_take_what_they_take(name):
    class Casting(AdaptedLinear):
        def forward(self, x):
            return super().forward(x.float())

    module = replaced(make(name), linear_layers(make(name)), Casting)
    module(**arguments_of(name, torch.float16))


@every_variant
def test_any_attention_names_what_is_wrong(name):
    input_dim = VARIANTS[name].example.get("input_dim", 3)
    module = AnyAttention({"type": name, **options_of(name)}, input_dim=input_dim).eval()
    arguments = {
        "x": torch.randn(2, TOKENS, HIDDEN),
        "positions": torch.rand(2, TOKENS, input_dim),
        "key_padding_mask": torch.ones(2, TOKENS, dtype=torch.bool),
        "context": torch.randn(2, 5, 7),
    }
    module(**arguments)
    for key, value in arguments.items():
        for other, got in wrong(value):
            if (key, got) != ("x", "on meta"):  # then all others are elsewhere
                with pytest.raises(NoetherError, match=rf"^{key}: .*{got}"):
                    module(**{**arguments, key: other})
