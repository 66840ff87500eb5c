"""Cross-attention against its formula, written out in float64."""

import itertools
import math

import pytest
import torch

from noether_core import AttentionConfig, ConfigError, ShapeError, build
from noether_core.errors import UnsupportedArgumentError
from noether_core.nn import Causal, KVCache, Packed, RopeFrequency, SlidingWindow
from noether_plugins.attention.perceiver.config import PerceiverAttentionConfig
from noether_plugins.attention.perceiver.module import PerceiverAttention
from tests.plugins.attention.formulas import (
    assert_same_numbers,
    linear,
    rms_normed,
    rotated,
    with_own_norms,
)

BATCH, HEADS, QUERIES, KEYS, WIDTH, KV_DIM, POINTS = 2, 3, 7, 11, 23, 13, 5
HIDDEN = HEADS * WIDTH
REAL = torch.arange(KEYS) < torch.tensor([[7], [5]])
SHAPES = [
    shape
    for axes in range(5)
    for shape in itertools.product(
        *((1, size) for size in (BATCH, HEADS, QUERIES, KEYS)[4 - axes :])
    )
]


def make(**options):
    """Return a module in float64 whose norms have weights of their own."""
    options = {"kv_dim": KV_DIM, "init_weights": "torch"} | options
    return with_own_norms(
        PerceiverAttention(PerceiverAttentionConfig(hidden_dim=HIDDEN, num_heads=HEADS, **options))
    )


def unturned(heads):
    return heads


def formula(state, q, kv, *, added=0.0, turn_queries=unturned, turn_keys=unturned):
    """Return the output where *added* is added to the logits; a query with minus infinity
    everywhere gets zeros.
    """
    queries, keys, values = (
        linear(state, name, x).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
        for name, x in [("q", q), ("k", kv), ("v", kv)]
    )
    if "q_norm.weight" in state:
        queries, keys = (
            rms_normed(queries, state["q_norm.weight"]),
            rms_normed(keys, state["k_norm.weight"]),
        )
    logits = (
        torch.einsum("bhid,bhjd->bhij", turn_queries(queries), turn_keys(keys)) / math.sqrt(WIDTH)
        + added
    )
    has_keys = (logits > -math.inf).any(-1, keepdim=True)
    weights = logits.masked_fill(~has_keys, 0.0).softmax(-1) * has_keys
    return linear(state, "proj", torch.einsum("bhij,bhjd->bihd", weights, values).flatten(-2))


def logits_of(mask):
    """Return what a boolean mask adds to the logits."""
    return torch.zeros((), dtype=torch.float64).where(mask, -math.inf)


def tokens(*, kv_dim=KV_DIM, queries=QUERIES, keys=KEYS):
    """Return tokens of queries and tokens of keys."""
    return (
        torch.randn(BATCH, queries, HIDDEN, dtype=torch.float64, requires_grad=True),
        torch.randn(BATCH, keys, kv_dim, dtype=torch.float64, requires_grad=True),
    )


def points_of(count):
    return torch.randn(BATCH, count, POINTS, dtype=torch.float64)


@pytest.mark.parametrize("kv_dim", [KV_DIM, None])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("qk_norm", [True, False])
def test_it_is_its_formula(qk_norm, bias, kv_dim):
    module, (q, kv) = (
        make(bias=bias, qk_norm=qk_norm, kv_dim=kv_dim),
        tokens(kv_dim=kv_dim or HIDDEN),
    )
    state = dict(module.named_parameters())
    assert_same_numbers(module(q, kv), formula(state, q, kv), [q, kv, *state.values()])


@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_its_formula_under_padding_and_masks_of_every_shape(shape, kind):
    module, (q, kv) = make(), tokens()
    kept = torch.rand(shape) < 0.7
    mask = kept if kind == "bool" else torch.randn(shape).where(kept, -math.inf)
    added = logits_of(kept) if kind == "bool" else mask.double()
    state = dict(module.named_parameters())

    got = module(q, kv, attn_mask=mask, key_padding_mask=REAL)

    wanted = formula(state, q, kv, added=added + logits_of(REAL)[:, None, None])
    assert_same_numbers(got, wanted, [q, kv, *state.values()])


@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("form", ["complex", "real"])
def test_it_is_its_formula_with_rotary_embeddings_of_queries_and_keys(form, qk_norm):
    module, (q, kv) = make(use_rope=True, qk_norm=qk_norm), tokens()
    rope, q_points, k_points = (
        RopeFrequency(WIDTH, POINTS, implementation=form),
        points_of(QUERIES),
        points_of(KEYS),
    )
    state = dict(module.named_parameters())

    got = module(q, kv, q_freqs=rope(q_points), k_freqs=rope(k_points))

    wanted = formula(
        state,
        q,
        kv,
        turn_queries=lambda heads: rotated(heads, q_points, form),
        turn_keys=lambda heads: rotated(heads, k_points, form),
    )
    assert_same_numbers(got, wanted, [q, kv, *state.values()], atol=2e-6)


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

    for queries in (7, 11, 12, 16):
        keys = queries + 6
        q, kv = tokens(queries=queries, keys=keys)
        arguments = {
            "attn_mask": torch.ones(queries, keys).tril().bool(),
            "key_padding_mask": torch.arange(keys) < torch.tensor([[7], [5]]),
            "q_freqs": rope(points_of(queries)),
            "k_freqs": rope(points_of(keys)),
        }
        torch.testing.assert_close(
            compiled(q, kv, **arguments), module(q, kv, **arguments), rtol=0, atol=1e-12
        )

    assert len(graphs) <= 2


def test_it_compiles_whole_with_a_cache():
    module, cache, (q, kv) = make(), KVCache(), tokens()
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    compiled(q, kv, key_padding_mask=REAL, kv_cache=cache)
    torch.testing.assert_close(
        compiled(q, None, kv_cache=cache), module(q, kv, key_padding_mask=REAL)
    )


STRUCTURED = {
    "causal": (Causal(), lambda i, j: j <= i),
    "window": (SlidingWindow(2, 3), lambda i, j: (j - i >= -2) & (j - i <= 3)),
    "packed": (Packed((2, 5), (4, 7)), lambda i, j: (i < 2) == (j < 4)),
}


@pytest.mark.parametrize("chunk_size", [None, 3])
@pytest.mark.parametrize(("mask", "attends"), STRUCTURED.values(), ids=STRUCTURED)
def test_masks_that_describe_pairs_are_the_written_ones(mask, attends, chunk_size):
    module, (q, kv) = make(chunk_size=chunk_size), tokens()
    written = attends(torch.arange(QUERIES)[:, None], torch.arange(KEYS))
    wanted = formula(
        dict(module.named_parameters()), q, kv, added=logits_of(written & REAL[:, None, None])
    )
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            got = module(q, kv, attn_mask=mask, key_padding_mask=REAL)
            torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


REFUSED_BY_FUSED_KERNELS = (
    "derivative for aten::_scaled_dot_product_flash_attention_for_cpu_backward is not implemented"
)


def test_the_math_kernel_has_second_derivatives():
    module = make(backend="math").requires_grad_(requires_grad=False)
    mask = torch.randn(QUERIES, KEYS).double().requires_grad_()

    def call(q, kv, mask):
        return module(q, kv, attn_mask=mask, key_padding_mask=REAL)

    assert torch.autograd.gradgradcheck(call, (*tokens(), mask), fast_mode=True)


@pytest.mark.parametrize("backend", ["auto", "sdpa"])
def test_fused_kernels_refuse_second_derivatives(backend):
    q, kv = tokens()
    (slope,) = torch.autograd.grad(
        make(backend=backend)(q, kv).square().sum(), q, create_graph=True
    )
    with pytest.raises(RuntimeError, match=REFUSED_BY_FUSED_KERNELS):
        slope.square().sum().backward()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # of torch.func.jvp
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_the_math_kernel_has_derivatives_in_forward_mode(chunk_size):
    module, (q, kv) = (
        make(backend="math", chunk_size=chunk_size),
        [each.detach() for each in tokens()],
    )
    directions = torch.randn_like(q), torch.randn_like(kv)
    with torch.no_grad():
        _, slope = torch.func.jvp(module, (q, kv), directions)
        ahead, behind = (
            module(q + step * directions[0], kv + step * directions[1]) for step in (1e-6, -1e-6)
        )
    torch.testing.assert_close(slope, (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-7)
    assert slope.any()


@pytest.mark.parametrize("backend", ["auto", "sdpa", "math"])
def test_every_kernel_computes_the_formula(backend):
    module, (q, kv) = make(backend=backend), tokens()
    state = dict(module.named_parameters())
    wanted = formula(state, q, kv, added=logits_of(REAL)[:, None, None])
    assert_same_numbers(module(q, kv, key_padding_mask=REAL), wanted, [q, kv, *state.values()])


READS_NOTHING = {
    "bool": {"attn_mask": (torch.arange(QUERIES) != 4)[:, None].expand(QUERIES, KEYS)},
    "float": {"attn_mask": torch.zeros(QUERIES, KEYS).index_fill(0, torch.tensor(4), -math.inf)},
    "padding": {"key_padding_mask": torch.zeros(BATCH, KEYS, dtype=torch.bool)},
    "both together": {
        "attn_mask": torch.arange(KEYS).expand(QUERIES, KEYS) >= 7,
        "key_padding_mask": torch.arange(KEYS).expand(BATCH, KEYS) < 7,
    },
}


@pytest.mark.parametrize("masks", READS_NOTHING.values(), ids=READS_NOTHING)
def test_a_query_without_keys_gets_the_bias_of_the_projection(masks):
    module, (q, kv) = make(), tokens()

    y = module(q, kv, **masks)
    y.square().sum().backward()

    torch.testing.assert_close(y[:, 4], module.proj.bias.expand(BATCH, HIDDEN), rtol=0, atol=0)
    assert not q.grad[:, 4].any()
    assert all(parameter.grad.isfinite().all() for parameter in [q, kv, *module.parameters()])


def test_where_there_are_no_keys_every_row_is_the_bias_of_the_projection():
    module, (q, kv) = make(), tokens()
    nothing, none_real = kv[:, :0], torch.zeros(BATCH, 0, dtype=torch.bool)
    wanted = module.proj.bias.expand(BATCH, QUERIES, HIDDEN)
    for masks in ({}, {"key_padding_mask": none_real}, {"attn_mask": torch.zeros(QUERIES, 0)}):
        torch.testing.assert_close(module(q, nothing, **masks), wanted, rtol=0, atol=0)
    assert module(q[:, :0], kv).shape == (BATCH, 0, HIDDEN)


def test_dropout_falls_on_attention_weights_and_on_the_output():
    module, (q, kv) = make(dropout=0.5), tokens(queries=101)
    with torch.no_grad():
        module.v.weight.zero_()
        module.v.bias.fill_(1.0)  # every row is the sum of the weights that were not dropped
        module.proj.weight.copy_(torch.eye(HIDDEN))
        module.proj.bias.zero_()
        y = module(q, kv)
        kept = y[y != 0]
        assert 0.45 < len(kept) / y.numel() < 0.55
        assert kept.std() > 0.1
        assert kept.mean() == pytest.approx(2, abs=0.2)
        assert torch.allclose(module.eval()(q, kv), torch.ones(()).double())


@pytest.mark.parametrize("kv_dim", [KV_DIM, None])
def test_parameters_have_the_names_and_shapes_of_stored_weights(kv_dim):
    shapes = {
        name: tuple(value.shape)
        for name, value in make(kv_dim=kv_dim, qk_norm=True).state_dict().items()
    }
    assert shapes == {
        **{f"{name}.weight": (HIDDEN, HIDDEN) for name in ("q", "proj")},
        **{f"{name}.weight": (HIDDEN, kv_dim or HIDDEN) for name in ("k", "v")},
        **{f"{name}.bias": (HIDDEN,) for name in ("q", "k", "v", "proj")},
        **{f"{name}.weight": (WIDTH,) for name in ("q_norm", "k_norm")},
    }
    assert list(make(bias=False).state_dict()) == [
        "q.weight",
        "k.weight",
        "v.weight",
        "proj.weight",
    ]


@pytest.mark.parametrize("bias", [True, False])
def test_weights_of_the_fused_layout_give_the_same_numbers(bias):
    module, twin, (q, kv) = make(bias=bias), make(bias=bias), tokens()
    state = module.state_dict()
    for leaf in ["weight", "bias"] if bias else ["weight"]:
        state[f"kv.{leaf}"] = torch.cat([state.pop(f"{part}.{leaf}") for part in "kv"])
    assert not torch.equal(twin(q, kv), module(q, kv))

    twin.load_state_dict(state)

    assert torch.equal(twin(q, kv), module(q, kv))
    assert "kv.weight" not in twin.state_dict()


@pytest.mark.parametrize(
    ("kv", "message"),
    [
        (
            torch.zeros(BATCH, KEYS, 17),
            r"^kv: got shape \(2, 11, 17\), wanted \(batch, tokens, 13\)$",
        ),
        (torch.zeros(KEYS, KV_DIM), r"^kv: got shape \(11, 13\), wanted"),
        (torch.zeros(5, KEYS, KV_DIM), "^kv: got a batch of 5, wanted 2"),
        (torch.zeros(BATCH, KEYS, KV_DIM, device="meta"), "^kv: got a tensor on meta, wanted cpu"),
        (
            torch.zeros(BATCH, KEYS, KV_DIM).long(),
            r"^kv: got torch\.int64, wanted a floating dtype$",
        ),
        (None, r"^kv: got None, wanted \(batch, keys, 13\), or a kv_cache"),
    ],
)
def test_tokens_of_keys_that_do_not_fit_are_refused(kv, message):
    with pytest.raises(ShapeError, match=message):
        make()(tokens()[0], kv)


def test_queries_of_another_width_are_refused():
    with pytest.raises(
        ShapeError, match=r"^q: got shape \(2, 11, 13\), wanted \(batch, tokens, 69\)$"
    ):
        make()(tokens()[1], tokens()[1])


@pytest.mark.parametrize(("missing", "count"), [("q_freqs", QUERIES), ("k_freqs", KEYS)])
def test_rotary_frequencies_are_given_exactly_if_the_config_says_so(missing, count):
    rope = RopeFrequency(WIDTH, POINTS)
    freqs = {"q_freqs": rope(points_of(QUERIES)), "k_freqs": rope(points_of(KEYS))}

    with pytest.raises(ShapeError, match=f"^{missing}: RoPE usage mismatch"):
        make(use_rope=True)(*tokens(), **freqs | {missing: None})
    with pytest.raises(
        ShapeError, match=rf"^{missing}: got shape \(2, 2, 11\), wanted .* \(2, {count}, "
    ):
        make(use_rope=True)(*tokens(), **freqs | {missing: rope(points_of(2))})
    with pytest.raises(UnsupportedArgumentError, match="RoPE usage mismatch") as caught:
        make()(*tokens(), **{missing: freqs[missing]})
    assert (caught.value.variant, caught.value.argument) == ("perceiver", missing)


def test_a_padding_mask_as_an_attention_mask_is_refused_with_a_hint():
    with pytest.raises(
        ShapeError, match=r"^attn_mask: got shape \(2, 11\), .* real tokens as key_padding_mask$"
    ):
        make()(*tokens(), attn_mask=REAL)


def cached(module, kv, **arguments):
    """Return a cache that a call with few queries filled."""
    cache = KVCache()
    module(torch.randn(BATCH, 1, HIDDEN, dtype=torch.float64), kv, kv_cache=cache, **arguments)
    return cache


@pytest.mark.parametrize("form", ["complex", "real"])
def test_cached_keys_give_the_numbers_of_fresh_ones(form):
    module, (q, kv) = make(use_rope=True, qk_norm=True), tokens()
    rope = RopeFrequency(WIDTH, POINTS, implementation=form)
    later = {"attn_mask": torch.randn(HEADS, QUERIES, KEYS), "q_freqs": rope(points_of(QUERIES))}
    fresh = {"key_padding_mask": REAL, "k_freqs": rope(points_of(KEYS))}
    cache = cached(module, kv, q_freqs=rope(points_of(1)), **fresh)

    got, wanted = module(q, None, kv_cache=cache, **later), module(q, kv, **later, **fresh)

    inputs = [q, *module.q.parameters(), *module.q_norm.parameters(), *module.proj.parameters()]
    assert_same_numbers(got, wanted, inputs)
    assert not got.isclose(module(q, kv, **later, k_freqs=fresh["k_freqs"])).all(-1).any()


def test_tokens_given_afresh_replace_those_in_the_cache():
    module, (q, kv) = make(), tokens()
    cache = cached(module, kv, key_padding_mask=REAL)
    module(q, kv[:, :5] + 1, kv_cache=cache)
    assert torch.equal(module(q, None, kv_cache=cache), module(q, kv[:, :5] + 1))


def test_an_attention_mask_is_held_against_the_cached_keys():
    module, (q, kv) = make(), tokens()
    wanted = r"^attn_mask: got shape \(7, 7\), wanted .* \(2, 3, 7, 11\)"
    with pytest.raises(ShapeError, match=wanted):
        module(q, None, kv_cache=cached(module, kv), attn_mask=torch.zeros(QUERIES, QUERIES))


@pytest.mark.parametrize(
    ("argument", "value", "reason"),
    [
        ("key_padding_mask", REAL, "the cache keeps its own"),
        (
            "k_freqs",
            torch.ones(BATCH, KEYS, 11, dtype=torch.complex64),
            "cached keys are rotated already",
        ),
    ],
)
def test_what_belongs_to_cached_tokens_is_refused_by_name(argument, value, reason):
    module, (q, kv) = make(), tokens()
    with pytest.raises(UnsupportedArgumentError, match=reason) as caught:
        module(q, None, kv_cache=cached(module, kv), **{argument: value})
    assert (caught.value.variant, caught.value.argument) == ("perceiver", argument)


@pytest.mark.parametrize("kv_dim", [0, -1, 7.0, True, "7"])
def test_the_width_of_keys_is_at_least_one(kv_dim):
    with pytest.raises(ConfigError, match="kv_dim: expected an integer of at least 1") as caught:
        PerceiverAttentionConfig(hidden_dim=HIDDEN, num_heads=HEADS, kv_dim=kv_dim)
    assert caught.value.problems[0].keys == ("kv_dim",)


def test_a_generic_config_builds_it():
    generic = AttentionConfig(type="perceiver", hidden_dim=HIDDEN, num_heads=HEADS, kv_dim=KV_DIM)
    concrete = PerceiverAttentionConfig(hidden_dim=HIDDEN, num_heads=HEADS, kv_dim=KV_DIM)
    assert PerceiverAttention(generic).config == concrete
    assert PerceiverAttention(concrete).config is concrete
    assert build(generic).config == concrete


def test_a_config_of_another_variant_is_refused():
    with pytest.raises(ConfigError, match="dot_product"):
        PerceiverAttention(AttentionConfig(type="dot_product", hidden_dim=HIDDEN, num_heads=HEADS))
