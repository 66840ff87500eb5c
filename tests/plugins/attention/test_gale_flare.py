"""Latents and a context beside them, against the formula, written out in float64."""

import pytest
import torch

from noether_core import build
from noether_core.nn import attend_in_parts
from noether_core.testing.measuring import Consumption
from noether_plugins.attention.gale_flare.config import GALEFLAREAttentionConfig
from noether_plugins.attention.gale_flare.module import GALEFLAREAttention
from tests.plugins.attention.formulas import (
    assert_dropout_of_context,
    assert_same_numbers,
    linear,
    mixed_with_context,
)

BATCH, HEADS, TOKENS, WIDTH, LATENTS, CONTEXT, CONTEXT_WIDTH = 2, 3, 11, 5, 7, 17, 13
HIDDEN = HEADS * WIDTH
CONTEXTS = {
    "no context": None,
    "for all heads": (BATCH, CONTEXT, CONTEXT_WIDTH),
    "of each head": (BATCH, HEADS, CONTEXT, CONTEXT_WIDTH),
    "empty": (BATCH, 0, CONTEXT_WIDTH),
}
SETTINGS = [
    {},
    {"mixing": "concat_project", "attn_scale": 0.37},
    {"mixing": "concat_project", "bias": False},
    {"backend": "math"},
]
REAL = torch.arange(TOKENS) < torch.tensor([[7], [5]])


def make(**options):
    """Return a module in float64, all of whose weights differ."""
    sizes = {"hidden_dim": HIDDEN, "num_heads": HEADS, "num_latents": LATENTS}
    given = {**sizes, "context_dim": CONTEXT_WIDTH, "init_weights": "torch", **options}
    module = GALEFLAREAttention(GALEFLAREAttentionConfig(**given)).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module


def tokens(count=TOKENS):
    return torch.randn(BATCH, count, HIDDEN, dtype=torch.float64, requires_grad=True)


def context_of(shape):
    return None if shape is None else torch.randn(shape, dtype=torch.float64, requires_grad=True)


def formula(module, x, context=None, real=None):
    """Return the output, where latents attend to *real* tokens alone."""
    state, scale = dict(module.named_parameters()), module.config.attn_scale
    real = torch.ones(x.shape[:2], dtype=torch.bool) if real is None else real
    states = linear(state, "in_project_x", x).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
    keys, values = linear(state, "self_k", states), linear(state, "self_v", states)
    latents = state["q_global"].expand(BATCH, -1, -1, -1)

    logits = scale * torch.einsum("bhmd,bhnd->bhmn", latents, keys)
    weights = logits.exp() * real[:, None, None]
    gathered = torch.einsum("bhmn,bhnd->bhmd", weights / weights.sum(-1, keepdim=True), values)
    shares = (scale * torch.einsum("bhnd,bhmd->bhnm", keys, latents)).softmax(-1)
    own = torch.einsum("bhnm,bhmd->bhnd", shares, gathered)
    if context is not None:
        by_head = context if context.dim() == 4 else context[:, None]
        own = mixed_with_context(state, own, states, by_head, scale)
    return linear(state, "out_linear", own.transpose(1, 2).flatten(2))


def reached(module, context):
    """Return the tensors that a call gives gradients."""
    named = module.named_parameters()
    if context is not None and context.numel():
        return [context, *(parameter for _, parameter in named)]
    unreached = ("cross_", "state_mixing", "concat_project")
    return [parameter for name, parameter in named if not name.startswith(unreached)]


@pytest.mark.parametrize("shape", CONTEXTS.values(), ids=CONTEXTS)
@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_it_is_its_formula(options, shape):
    module, x, context = make(**options), tokens(), context_of(shape)
    got = module(x, context=context, key_padding_mask=REAL)
    wanted = formula(module, x, context, REAL)
    assert_same_numbers(got, wanted, [x, *reached(module, context)])


@pytest.mark.parametrize("shape", CONTEXTS.values(), ids=CONTEXTS)
@pytest.mark.parametrize("options", SETTINGS, ids=str)
@torch.no_grad()
def test_chunks_of_tokens_give_the_numbers_of_the_formula(options, shape):
    x, context = tokens(), context_of(shape)
    for chunk_size in (1, 4):
        module = make(**options, chunk_size=chunk_size)
        got = module(x, context=context, key_padding_mask=REAL)
        wanted = formula(module, x, context, REAL)
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


@torch.no_grad()
def test_memory_beyond_tokens_and_result_does_not_grow_with_the_tokens():
    module, peaks = make(chunk_size=16), []
    context = context_of(CONTEXTS["for all heads"])
    for count in (128, 256):
        x, real = tokens(count), torch.ones(BATCH, count, dtype=torch.bool)
        with Consumption() as consumption:
            y = module(x, context=context, key_padding_mask=real)
        peaks.append(consumption.peak - y.nbytes)
    assert peaks[0] == peaks[1]


@pytest.mark.parametrize("options", [{}, {"chunk_size": 3}, {"dropout": 0.5}], ids=str)
def test_parts_of_the_tokens_get_what_all_get_at_once(options):
    module = make(**options).train("dropout" in options)
    x, context = tokens(), context_of(CONTEXTS["for all heads"])
    torch.manual_seed(5)
    wanted = module(x, context=context)
    torch.manual_seed(5)
    parts = list(attend_in_parts(module, x.split([4, 0, 7], dim=1), context=context))
    got = torch.cat(parts, dim=1)
    assert_same_numbers(got, wanted, [x, *reached(module, context)])

    with torch.no_grad():
        torch.manual_seed(5)
        again = list(attend_in_parts(module, x.split([5, 6], dim=1), context=context))
        torch.testing.assert_close(torch.cat(again, dim=1), wanted, rtol=0, atol=1e-12)


def test_parameters_have_the_names_and_shapes_of_stored_weights():
    shapes = {
        name: tuple(value.shape) for name, value in make(context_dim=None).state_dict().items()
    }
    assert shapes == {
        "q_global": (1, HEADS, LATENTS, WIDTH),
        **{f"{name}.weight": (HIDDEN, HIDDEN) for name in ("in_project_x", "out_linear")},
        **{f"{name}.bias": (HIDDEN,) for name in ("in_project_x", "out_linear")},
        **{f"self_{name}.weight": (WIDTH, WIDTH) for name in "kv"},
        **{f"self_{name}.bias": (WIDTH,) for name in "kv"},
    }
    assert make().state_dict().keys() - shapes.keys() == {
        "state_mixing",
        *(f"cross_{name}.{kind}" for name in "qkv" for kind in ("weight", "bias")),
    }


def test_latents_start_as_wide_as_normal_numbers():
    module = build("gale_flare", hidden_dim=64, num_heads=2, num_latents=256)
    assert 0.9 < module.q_global.std() < 1.1


def test_dropout_of_the_context_follows_the_seed_and_is_right_on_average():
    module, context = make(dropout=0.3), context_of(CONTEXTS["of each head"])[:1]
    assert_dropout_of_context(module, tokens()[:1], context)
