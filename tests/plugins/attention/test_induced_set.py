"""Induced set attention against its formula, written out in float64."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch import nn

from noether_core import ConfigError
from noether_core.errors import SummaryError
from noether_plugins.attention.induced_set.config import InducedSetAttentionConfig
from noether_plugins.attention.induced_set.module import InducedSetAttention
from tests.plugins.attention.formulas import assert_same_numbers, linear, rms_normed, with_own_norms

BATCH, HEADS, TOKENS, WIDTH, POINTS = 2, 3, 31, 5, 7
HIDDEN = HEADS * WIDTH
SIZES = {"hidden_dim": HIDDEN, "num_heads": HEADS, "num_latents": POINTS}
REAL = torch.arange(TOKENS) < torch.tensor([[29], [17]])


def make(**options):
    """Return a module in float64 whose points differ, and whose norms have weights of their own."""
    config = InducedSetAttentionConfig(**SIZES, init_weights="torch", **options)
    module = with_own_norms(InducedSetAttention(config))
    nn.init.normal_(module.latents)
    return module


def attended(state, name, read, x, real):
    """Return the attention of *read* to the real ones of *x*, by the layers of a name."""
    q, k, v = (
        linear(state, f"{name}.{layer}", each).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
        for layer, each in (("q", read), ("k", x), ("v", x))
    )
    if f"{name}.q_norm.weight" in state:
        q = rms_normed(q, state[f"{name}.q_norm.weight"])
        k = rms_normed(k, state[f"{name}.k_norm.weight"])
    logits = torch.einsum("bhid,bhjd->bhij", q, k) / WIDTH**0.5
    weights = logits.masked_fill(~real[:, None, None], -torch.inf).softmax(-1)
    heads = torch.einsum("bhij,bhjd->bihd", weights.nan_to_num(), v)
    return linear(state, f"{name}.proj", heads.flatten(-2))


def formula(state, x, real):
    latents = state["latents"].expand(BATCH, -1, -1)
    points = attended(state, "gather", latents, x, real)
    return attended(state, "scatter", x, points, torch.ones(BATCH, POINTS, dtype=torch.bool))


def tokens():
    return torch.randn(BATCH, TOKENS, HIDDEN, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("options", [{}, {"qk_norm": True}, {"bias": False}], ids=str)
@pytest.mark.parametrize("backend", ["auto", "math"])
@pytest.mark.parametrize("real", [None, REAL], ids=["no mask", "some real"])
def test_it_is_its_formula(real, backend, options):
    module, x = make(**options, backend=backend), tokens()
    counted = torch.ones(BATCH, TOKENS, dtype=torch.bool) if real is None else real
    wanted = formula(dict(module.named_parameters()), x, counted)
    got = module(x.masked_fill(~counted.unsqueeze(-1), float("nan")), key_padding_mask=real)
    assert_same_numbers(got[counted], wanted[counted], [x, *module.parameters()])


@pytest.mark.parametrize("backend", ["auto", "math"])
@torch.no_grad()
def test_chunks_give_the_numbers_of_all_at_once(backend):
    module, cut = make(backend=backend).eval(), make(backend=backend, chunk_size=7).eval()
    cut.load_state_dict(module.state_dict())
    x = tokens().masked_fill(~REAL.unsqueeze(-1), float("nan"))
    wanted = module(x, key_padding_mask=REAL)[REAL]
    got = cut(x, key_padding_mask=REAL)[REAL]
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize("chunk_size", [None, 7])
@torch.no_grad()
def test_a_sample_of_padding_alone_gets_nothing(chunk_size):
    module, x = make(chunk_size=chunk_size).eval(), tokens()
    y = module(x, key_padding_mask=REAL & torch.tensor([[True], [False]]))
    assert torch.equal(y[1], module.scatter.proj.bias.expand_as(y[1]))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])  # noqa: S301  ours
def test_what_a_copy_gathers_is_its_own(copied):
    module, x = make().eval(), tokens()
    twin = copied(module)
    assert twin.gather is not module.gather
    torch.testing.assert_close(twin.read(x, twin.gather(x)), module(x))
    with pytest.raises(SummaryError, match="another module"):
        module.read(x, twin.gather(x))


def test_a_module_is_gone_as_soon_as_nobody_holds_it():
    module = make()
    gone, first = weakref.ref(module), module.gather
    gc.disable()
    try:
        del module
        assert gone() is None
    finally:
        gc.enable()
    with pytest.raises(SummaryError, match="the module that it is a part of is gone"):
        first(tokens())


def test_layers_are_found_by_their_names():
    module = make()
    assert module.get_submodule("gather.q") is module.gather.q
    assert {name.partition(".")[0] for name in module.state_dict()} == {
        "latents",
        "gather",
        "scatter",
    }


def test_rotation_is_refused():
    with pytest.raises(ConfigError, match="learned points have no position to rotate by"):
        make(use_rope=True)
