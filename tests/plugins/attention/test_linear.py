"""Linear attention against its formula, written out in float64; and in chunks and parts."""

import pytest
import torch

from noether_core import AttentionConfig, ConfigError, ShapeError, build
from noether_core.errors import UnsupportedArgumentError
from noether_core.nn import RopeFrequency, attend_in_parts
from noether_core.testing.measuring import Consumption
from noether_plugins.attention.linear.config import LinearAttentionConfig
from noether_plugins.attention.linear.module import LinearAttention
from tests.plugins.attention.formulas import (
    assert_same_numbers,
    linear,
    rms_normed,
    rotated,
    with_own_norms,
)

BATCH, HEADS, TOKENS, WIDTH, POINTS = 2, 3, 31, 5, 2
HIDDEN = HEADS * WIDTH
SIZES = {"hidden_dim": HIDDEN, "num_heads": HEADS}
REAL = torch.arange(TOKENS) < torch.tensor([[29], [17]])
MAPS = ["elu", "relu", "softmax"]

each_map = pytest.mark.parametrize("feature_map", MAPS)


def make(**options):
    """Return a module in float64 whose norms have weights of their own."""
    config = LinearAttentionConfig(**SIZES, init_weights="torch", **options)
    return with_own_norms(LinearAttention(config))


def formula(state, x, feature_map, real=None, turn=lambda heads: heads):
    """Return the output by a weight of each token for each other one."""
    q, k, v = (
        linear(state, name, x).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2) for name in "qkv"
    )
    if "q_norm.weight" in state:
        q, k = rms_normed(q, state["q_norm.weight"]), rms_normed(k, state["k_norm.weight"])
    real = torch.ones(x.shape[:2], dtype=torch.bool) if real is None else real

    if feature_map == "softmax":
        shares = k.exp() * real[:, None, :, None]
        totals = shares.sum(2, keepdim=True)
        shares = shares / totals.masked_fill(totals == 0, 1.0)
        weights = torch.einsum("bhid,bhjd->bhij", q.exp() / q.exp().sum(-1, keepdim=True), shares)
    else:
        positive = {
            "elu": lambda a: torch.where(a > 0, a + 1, a.clamp(max=0).exp()),
            "relu": lambda a: a.clamp(min=0) + 1e-6,
        }[feature_map]
        features = [turn(positive(each)) for each in (q, k)]
        products = torch.einsum("bhid,bhjd->bhij", *features) * real[:, None, None]
        totals = products.sum(-1, keepdim=True)
        weights = products / totals.masked_fill(totals == 0, 1.0)
    return linear(state, "proj", torch.einsum("bhij,bhjd->bihd", weights, v).flatten(-2))


def tokens(count=TOKENS, dtype=torch.float64):
    return torch.randn(BATCH, count, HIDDEN, dtype=dtype, requires_grad=dtype == torch.float64)


@pytest.mark.parametrize("qk_norm", [True, False])
@each_map
def test_it_is_its_formula(feature_map, qk_norm):
    module, x = make(feature_map=feature_map, qk_norm=qk_norm, bias=qk_norm), tokens()
    wanted = formula(dict(module.named_parameters()), x, feature_map)
    assert_same_numbers(module(x), wanted, [x, *module.parameters()])


@pytest.mark.parametrize(
    "real",
    [REAL, REAL & torch.tensor([[True], [False]]), torch.zeros_like(REAL)],
    ids=["some", "one sample empty", "none"],
)
@each_map
def test_it_is_its_formula_without_padding(feature_map, real):
    module, x = make(feature_map=feature_map), tokens()
    wanted = formula(dict(module.named_parameters()), x, feature_map, real)
    padded = x.masked_fill(~real.unsqueeze(-1), float("nan"))
    got = module(padded, key_padding_mask=real)
    assert_same_numbers(got[real], wanted[real], [x, *module.parameters()])
    is_empty = ~real.any(dim=1)
    assert torch.equal(got[is_empty], module.proj.bias.expand_as(got[is_empty]))


@pytest.mark.parametrize("form", ["complex", "real"])
@pytest.mark.parametrize("feature_map", ["elu", "relu"])
def test_rotary_embeddings_turn_features_above_and_below_the_line(feature_map, form):
    module, x = make(feature_map=feature_map, use_rope=True, qk_norm=True), tokens()
    points = torch.randn(BATCH, TOKENS, POINTS, dtype=torch.float64)
    rope = RopeFrequency(WIDTH, POINTS, implementation=form)
    freqs = rope(points)
    state = dict(module.named_parameters())
    wanted = formula(state, x, feature_map, REAL, turn=lambda heads: rotated(heads, points, form))
    got = module(x, key_padding_mask=REAL, freqs=freqs)
    torch.testing.assert_close(got[REAL], wanted[REAL], rtol=0, atol=1e-4)  # angles of float32

    sizes = [1, 18, 0, 12]
    cut = zip(x.split(sizes, 1), REAL.split(sizes, 1), _cut(freqs, sizes), strict=True)
    parts = [dict(zip(("x", "key_padding_mask", "freqs"), each, strict=True)) for each in cut]
    merged = torch.cat(list(attend_in_parts(module, parts)), dim=1)
    torch.testing.assert_close(merged[REAL], got[REAL])


def _cut(freqs, sizes):
    if isinstance(freqs, torch.Tensor):
        return freqs.split(sizes, dim=-2)
    return list(zip(*(angles.split(sizes, dim=-2) for angles in freqs), strict=True))


def test_frequencies_are_given_exactly_with_use_rope():
    freqs = RopeFrequency(WIDTH, POINTS)(torch.rand(BATCH, TOKENS, POINTS))
    with pytest.raises(ShapeError, match="use_rope is true and none are given"):
        make(use_rope=True).gather(tokens())
    with pytest.raises(UnsupportedArgumentError, match="use_rope is false"):
        make().gather(tokens(), freqs=freqs)


def test_softmax_refuses_to_rotate():
    options = {"type": "linear", **SIZES, "feature_map": "softmax", "use_rope": True}
    for make_config in (lambda **o: build(o), lambda **o: build(AttentionConfig(**o))):
        with pytest.raises(ConfigError, match=r"use_rope: with feature_map 'softmax'.*'relu'"):
            make_config(**options)


OTHERS = [
    *({"type": "linear", "feature_map": each} for each in MAPS),
    {"type": "linear", "use_rope": True},
    {"type": "galerkin"},
]


@pytest.mark.parametrize("options", OTHERS, ids=str)
@torch.no_grad()
def test_chunks_give_the_numbers_of_all_at_once(options):
    module = build({**SIZES, "init_weights": "torch", **options}).double().eval()
    cut = build({**SIZES, "chunk_size": 7, **options}).double().eval()
    cut.load_state_dict(module.state_dict())
    x = tokens().masked_fill(~REAL.unsqueeze(-1), float("nan"))
    points = torch.rand(BATCH, TOKENS, POINTS)
    freqs = RopeFrequency(WIDTH, POINTS)(points) if "use_rope" in options else None
    rotating = {} if freqs is None else {"freqs": freqs}
    wanted = module(x, key_padding_mask=REAL, **rotating)
    got = cut(x, key_padding_mask=REAL, **rotating)
    torch.testing.assert_close(got[REAL], wanted[REAL], rtol=0, atol=1e-13)


@pytest.mark.parametrize("options", OTHERS[::2], ids=str)
@torch.no_grad()
def test_memory_beyond_tokens_and_result_does_not_grow(options):
    module = build({"hidden_dim": 16, "num_heads": 2, "chunk_size": 64, **options}).eval()
    rotating = "use_rope" in options
    beyond = []
    for count in (512, 2048):
        x = torch.randn(1, count, 16)
        freqs = {"freqs": RopeFrequency(8, 2)(torch.rand(1, count, 2))} if rotating else {}
        with Consumption() as consumption:
            y = module(x, **freqs)
        beyond.append(consumption.peak - y.nbytes)
    assert beyond[1] <= beyond[0]


TINY = {"hidden_dim": 4, "num_heads": 1, "init_weights": "xavier"}


@pytest.mark.parametrize("options", [*OTHERS[:3], OTHERS[4]], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_sums_of_half_precision_hold_many_tokens(options, dtype):
    module = build({**TINY, **options}).eval()
    x = torch.randn(1, 100_000, 4) + 1
    wanted = module(x)
    got = module.to(dtype)(x.to(dtype))
    assert (got - wanted).norm() < 0.02 * wanted.norm()


def test_features_that_vanish_give_zeros():
    module = make().float()
    with torch.no_grad():
        module.q.weight.zero_()
        module.q.bias.fill_(-200.0)
    x = tokens(dtype=torch.float32).requires_grad_()
    y = module(x)
    assert torch.equal(y, module.proj.bias.expand_as(y))
    assert all(each.isfinite().all() for each in torch.autograd.grad(y.sum(), [x, module.k.weight]))
