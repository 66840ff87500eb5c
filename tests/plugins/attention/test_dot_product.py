"""Dot-product attention against its formula, written out in float64."""

import math

import pytest
import torch

from noether_core import AttentionConfig, ConfigError, ShapeError, build
from noether_core.errors import UnsupportedArgumentError, UnsupportedBackendError
from noether_core.nn import Causal, Packed, RopeFrequency, SlidingWindow
from noether_plugins.attention.dot_product.config import DotProductAttentionConfig
from noether_plugins.attention.dot_product.module import DotProductAttention
from tests.plugins.attention.formulas import (
    assert_same_numbers,
    linear,
    rms_normed,
    rotated,
    with_own_norms,
)

BATCH, HEADS, TOKENS, WIDTH, POINTS = 2, 3, 11, 13, 3
HIDDEN = HEADS * WIDTH
INF = float("inf")


def make(**options):
    """Return a module in float64 whose norms have weights of their own."""
    config = DotProductAttentionConfig(
        hidden_dim=HIDDEN, num_heads=HEADS, init_weights="torch", **options
    )
    return with_own_norms(DotProductAttention(config))


def formula(state, x, added=0.0, turn=lambda heads: heads):
    q, k, v = (
        linear(state, name, x).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2) for name in "qkv"
    )
    if "q_norm.weight" in state:
        q, k = rms_normed(q, state["q_norm.weight"]), rms_normed(k, state["k_norm.weight"])
    logits = torch.einsum("bhid,bhjd->bhij", turn(q), turn(k)) / math.sqrt(WIDTH) + added
    weights = logits.softmax(-1)
    return linear(state, "proj", torch.einsum("bhij,bhjd->bihd", weights, v).flatten(-2))


def tokens():
    return torch.randn(BATCH, TOKENS, HIDDEN, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("qk_norm", [True, False])
def test_it_is_its_formula(bias, qk_norm):
    module, x = make(bias=bias, qk_norm=qk_norm), tokens()
    assert_same_numbers(
        module(x), formula(dict(module.named_parameters()), x), [x, *module.parameters()]
    )


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize(
    "shape", [(TOKENS, TOKENS), (HEADS, 1, TOKENS), (BATCH, HEADS, TOKENS, TOKENS)], ids=str
)
def test_it_is_its_formula_under_masks(shape, kind, padded):
    module, x = make(), tokens()
    kept = (torch.rand(shape) < 0.7) | (torch.arange(TOKENS) == 0)
    added = torch.zeros(()).where(kept, -INF) if kind == "bool" else torch.randn(shape)
    real = torch.arange(TOKENS) < torch.tensor([[7], [5]]) if padded else None
    hidden = torch.zeros(()).where(real, -INF)[:, None, None] if padded else 0.0

    got = module(x, attn_mask=kept if kind == "bool" else added, key_padding_mask=real)

    wanted = formula(dict(module.named_parameters()), x, added.double() + hidden)
    assert_same_numbers(got, wanted, [x, *module.parameters()])


@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("form", ["complex", "real"])
def test_it_is_its_formula_with_rotary_embeddings(form, qk_norm):
    module, x = make(use_rope=True, qk_norm=qk_norm), tokens()
    points = torch.randn(BATCH, TOKENS, POINTS, dtype=torch.float64)
    freqs = RopeFrequency(WIDTH, POINTS, implementation=form)(points)

    wanted = formula(
        dict(module.named_parameters()), x, turn=lambda heads: rotated(heads, points, form)
    )

    assert_same_numbers(module(x, freqs=freqs), wanted, [x, *module.parameters()], atol=2e-6)


@pytest.mark.parametrize("form", ["complex", "real"])
def test_it_compiles_whole_with_all_its_arguments_and_at_most_twice(form):
    module, rope = (
        make(use_rope=True, qk_norm=True),
        RopeFrequency(WIDTH, POINTS, implementation=form),
    )
    graphs = []
    torch._dynamo.reset()
    compiled = torch.compile(
        module, fullgraph=True, backend=lambda graph, _: graphs.append(graph) or graph
    )

    for count in (7, 11, 12, 16):
        x = torch.randn(BATCH, count, HIDDEN, dtype=torch.float64)
        arguments = {
            "attn_mask": torch.ones(count, count).tril().bool(),
            "key_padding_mask": torch.arange(count) < torch.tensor([[7], [5]]),
            "freqs": rope(torch.randn(BATCH, count, POINTS)),
        }
        torch.testing.assert_close(
            compiled(x, **arguments), module(x, **arguments), rtol=0, atol=1e-12
        )

    assert len(graphs) <= 2


def test_a_token_without_keys_gets_the_bias_of_the_projection():
    module, x = make(), tokens()
    mask = (torch.arange(TOKENS) != 4)[:, None].expand(TOKENS, TOKENS)

    y = module(x, attn_mask=mask)
    y.square().sum().backward()

    torch.testing.assert_close(y[:, 4], module.proj.bias.expand(BATCH, HIDDEN), rtol=0, atol=0)
    assert not torch.equal(y[:, 3], y[:, 4])
    assert all(parameter.grad.isfinite().all() for parameter in [x, *module.parameters()])


def test_dropout_falls_on_attention_weights_and_on_the_output():
    module, x = make(dropout=0.5), tokens()
    with torch.no_grad():
        module.v.weight.zero_()
        module.v.bias.fill_(1.0)  # every row is the sum of the weights that were not dropped
        module.proj.weight.copy_(torch.eye(HIDDEN))
        module.proj.bias.zero_()
        y = module(x)
        kept = y[y != 0]
        assert 0.3 < len(kept) / y.numel() < 0.7
        assert kept.std() > 0.1
        assert kept.mean() == pytest.approx(2, abs=0.2)
        assert torch.allclose(module.eval()(x), torch.ones(()).double())


NAMES = {
    (True, False): "q.weight q.bias k.weight k.bias v.weight v.bias proj.weight proj.bias",
    (False, True): "q.weight k.weight v.weight proj.weight q_norm.weight k_norm.weight",
}


@pytest.mark.parametrize(("bias", "qk_norm"), NAMES)
def test_parameters_have_the_names_of_stored_weights(bias, qk_norm):
    assert sorted(make(bias=bias, qk_norm=qk_norm).state_dict()) == sorted(
        NAMES[bias, qk_norm].split()
    )


@pytest.mark.parametrize("bias", [True, False])
def test_weights_of_the_fused_layout_give_the_same_numbers(bias):
    module, twin, x = make(bias=bias), make(bias=bias), tokens()
    state = module.state_dict()
    for leaf in ["weight", "bias"] if bias else ["weight"]:
        state[f"qkv.{leaf}"] = torch.cat([state.pop(f"{part}.{leaf}") for part in "qkv"])
    assert not torch.equal(twin(x), module(x))

    twin.load_state_dict(state)

    assert torch.equal(twin(x), module(x))
    assert "qkv.weight" not in twin.state_dict()


def test_rotary_frequencies_are_given_exactly_if_the_config_says_so():
    freqs = RopeFrequency(WIDTH, POINTS)(torch.zeros(BATCH, TOKENS, POINTS))
    with pytest.raises(ShapeError, match="RoPE usage mismatch"):
        make(use_rope=True)(tokens())
    with pytest.raises(UnsupportedArgumentError, match="RoPE usage mismatch") as caught:
        make()(tokens(), freqs=freqs)
    assert caught.value.argument == "freqs"


def test_a_padding_mask_as_an_attention_mask_is_refused_with_a_hint():
    with pytest.raises(ShapeError, match="pass a mask of real tokens as key_padding_mask"):
        make()(tokens(), attn_mask=torch.ones(BATCH, TOKENS, dtype=torch.bool))


def test_a_generic_config_builds_it():
    generic = AttentionConfig(type="dot_product", hidden_dim=HIDDEN, num_heads=HEADS, qk_norm=True)
    concrete = DotProductAttentionConfig(hidden_dim=HIDDEN, num_heads=HEADS, qk_norm=True)
    assert DotProductAttention(generic).config == concrete
    assert DotProductAttention(concrete).config is concrete
    assert build(generic).config == concrete


def test_a_config_of_another_variant_is_refused():
    with pytest.raises(ConfigError, match="transolver"):
        DotProductAttention(AttentionConfig(type="transolver", hidden_dim=HIDDEN, num_heads=HEADS))


def test_the_backend_of_the_config_computes_it():
    x = tokens()
    module, other = make(), make(backend="math")
    other.load_state_dict(module.state_dict())

    torch.testing.assert_close(other(x), module(x), rtol=0, atol=1e-12)

    (slope,) = torch.autograd.grad(other(x).square().sum(), x, create_graph=True)
    assert torch.autograd.grad(slope.square().sum(), x)[0].any()
    with pytest.raises(UnsupportedBackendError, match="backend 'flex'"):
        make(backend="flex")(x)


@pytest.mark.parametrize("mask", [Causal(), SlidingWindow(3, 2), Packed((5, 6))], ids=str)
def test_it_takes_masks_that_are_described(mask):
    module, x = make(), tokens()
    real = torch.arange(TOKENS) < torch.tensor([[7], [5]])
    index = torch.arange(TOKENS)
    distance = index - index[:, None]
    written_out = {
        Causal: distance <= 0,
        SlidingWindow: (distance >= -3) & (distance <= 2),
        Packed: (index < 5) == (index < 5)[:, None],
    }[type(mask)]
    wanted = module(x, attn_mask=written_out, key_padding_mask=real)
    torch.testing.assert_close(
        module(x, attn_mask=mask, key_padding_mask=real), wanted, rtol=0, atol=1e-12
    )


def test_samples_that_do_not_add_up_are_refused():
    with pytest.raises(ShapeError, match="got lengths of 10 queries, wanted 11"):
        make()(tokens(), attn_mask=Packed((5, 5)))
