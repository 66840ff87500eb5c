"""Galerkin attention against its formula, written out in float64."""

import pytest
import torch

from noether_core import ConfigError
from noether_plugins.attention.galerkin.config import GalerkinAttentionConfig
from noether_plugins.attention.galerkin.module import GalerkinAttention
from tests.plugins.attention.formulas import assert_same_numbers, linear, rms_normed, with_own_norms

BATCH, HEADS, TOKENS, WIDTH = 2, 3, 11, 5
HIDDEN = HEADS * WIDTH
SIZES = {"hidden_dim": HIDDEN, "num_heads": HEADS}
REAL = torch.arange(TOKENS) < torch.tensor([[7], [5]])


def make(**options):
    """Return a module in float64 whose norms have weights of their own."""
    return with_own_norms(
        GalerkinAttention(GalerkinAttentionConfig(**SIZES, init_weights="torch", **options))
    )


def normed(x, state, name):
    """Return heads with a mean of zero and a deviation of one, scaled and shifted head by head."""
    centred = x - x.mean(-1, keepdim=True)
    deviation = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    assert weight.shape == bias.shape == (HEADS, WIDTH)
    return centred / deviation * weight[:, None] + bias[:, None]


def formula(state, x, real):
    q, k, v = (
        linear(state, name, x).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2) for name in "qkv"
    )
    if "q_norm.weight" in state:
        q = rms_normed(q, state["q_norm.weight"])
    k, v = normed(k, state, "k_norm"), normed(v, state, "v_norm")
    weights = torch.einsum("bhid,bhjd->bhij", q, k) * real[:, None, None]
    counts = real.sum(-1).clamp(min=1)[:, None, None, None]
    read = torch.einsum("bhij,bhjd->bihd", weights / counts, v)
    return linear(state, "proj", read.flatten(-2))


@pytest.mark.parametrize("options", [{}, {"qk_norm": True, "bias": False}], ids=str)
@pytest.mark.parametrize(
    "real",
    [None, REAL, REAL & torch.tensor([[True], [False]]), torch.zeros_like(REAL)],
    ids=["no mask", "some real", "one sample empty", "none"],
)
def test_it_is_its_formula(options, real):
    module = make(**options)
    x = torch.randn(BATCH, TOKENS, HIDDEN, dtype=torch.float64, requires_grad=True)
    counted = torch.ones(BATCH, TOKENS, dtype=torch.bool) if real is None else real
    wanted = formula(dict(module.named_parameters()), x, counted)
    got = module(x.masked_fill(~counted.unsqueeze(-1), float("nan")), key_padding_mask=real)
    assert_same_numbers(got[counted], wanted[counted], [x, *module.parameters()])


def test_norms_start_as_they_are_made_in_every_head():
    module = make()
    module.k_norm.reset_parameters()
    assert (module.k_norm.weight == 1).all()
    assert not module.k_norm.bias.any()


def test_rotation_is_refused():
    with pytest.raises(ConfigError, match=r"use_rope: .*positions are part of the tokens"):
        make(use_rope=True)
