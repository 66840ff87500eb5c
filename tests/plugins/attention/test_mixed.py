"""Mixed attention against its formula, written out in float64 pattern by pattern."""

import itertools
import math
import re

import pytest
import torch

from noether_core import (
    AttentionConfig,
    AttentionPattern,
    ConfigError,
    ShapeError,
    TokenGroupError,
    TokenSpec,
    build,
)
from noether_core.errors import UnsupportedArgumentError
from noether_core.nn import RopeFrequency
from noether_plugins.attention.dot_product.config import DotProductAttentionConfig
from noether_plugins.attention.dot_product.module import DotProductAttention
from noether_plugins.attention.mixed import module as mixed_module
from noether_plugins.attention.mixed.config import MixedAttentionConfig
from noether_plugins.attention.mixed.module import MixedAttention
from tests.plugins.attention.formulas import (
    assert_same_numbers,
    linear,
    rms_normed,
    rotated,
    with_own_norms,
)

BATCH, HEADS, WIDTH, POINTS = 2, 3, 13, 3
HIDDEN = HEADS * WIDTH
SIZES = {"surface": 5, "volume": 7, "wake": 11}
TOKENS = sum(SIZES.values())
S, V, W = SIZES

PATTERNS = {
    "each attends to itself": [((S,), (S,)), ((V,), (V,)), ((W,), (W,))],
    "overlapping keys": [((S,), (S, V)), ((V,), (V, W)), ((W,), (S, V))],
    "keys and queries in another order": [((W, S), (V, S)), ((V,), (W, V, S))],
    "groups that lie apart": [((S, W), (S, W)), ((V,), (W,))],
    "one group has keys": [((V, S, W), (V,))],
    "all attend to all": None,
}
every_pattern = pytest.mark.parametrize("patterns", PATTERNS.values(), ids=PATTERNS)


def make(**options):
    """Return a module in float64 whose norms have weights of their own."""
    config = MixedAttentionConfig(
        hidden_dim=HIDDEN, num_heads=HEADS, init_weights="torch", **options
    )
    return with_own_norms(MixedAttention(config))


def specs_of(sizes):
    return [TokenSpec(name, size) for name, size in sizes.items()]


def patterns_of(patterns):
    return None if patterns is None else [AttentionPattern(*pattern) for pattern in patterns]


def tokens():
    return torch.randn(BATCH, TOKENS, HIDDEN, dtype=torch.float64, requires_grad=True)


def formula(state, x, patterns, *, sizes=SIZES, real=None, turn=lambda heads: heads):
    """Attend sample by sample and pattern by pattern, over the keys that are real."""
    q, k, v = (
        linear(state, name, x).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2) for name in "qkv"
    )
    if "q_norm.weight" in state:
        q, k = rms_normed(q, state["q_norm.weight"]), rms_normed(k, state["k_norm.weight"])
    q, k = turn(q), turn(k)
    where = dict(zip(sizes, torch.arange(x.shape[1]).split(list(sizes.values())), strict=True))

    samples = list(torch.zeros_like(q))
    for b, (queries, keys) in itertools.product(
        range(BATCH), patterns or [(list(sizes), list(sizes))]
    ):
        i = torch.cat([where[name] for name in queries])
        j = torch.cat([where[name] for name in keys])
        j = j if real is None else j[real[b, j]]
        logits = torch.einsum("hid,hjd->hij", q[b][:, i], k[b][:, j]) / math.sqrt(WIDTH)
        weights = logits.softmax(-1)
        samples[b] = samples[b].index_copy(1, i, torch.einsum("hij,hjd->hid", weights, v[b][:, j]))
    return linear(state, "proj", torch.stack(samples).transpose(1, 2).flatten(-2))


@pytest.mark.parametrize(("bias", "qk_norm"), [(True, False), (False, True)])
@every_pattern
def test_it_is_its_formula(patterns, bias, qk_norm):
    module, x = make(bias=bias, qk_norm=qk_norm), tokens()
    got = module(x, specs_of(SIZES), patterns_of(patterns))
    assert_same_numbers(
        got, formula(dict(module.named_parameters()), x, patterns), [x, *module.parameters()]
    )


MASKS = {
    "some padding": torch.arange(TOKENS) % 7 < torch.tensor([[3], [5]]),
    "a group of padding": torch.stack([torch.arange(TOKENS) >= 12, torch.arange(TOKENS) < 12]),
    "a sample of padding": torch.tensor([[True], [False]]).expand(BATCH, TOKENS),
}


@pytest.mark.parametrize("real", MASKS.values(), ids=MASKS)
@every_pattern
def test_it_is_its_formula_under_padding(patterns, real):
    module, x = make(), tokens()
    got = module(x, specs_of(SIZES), patterns_of(patterns), key_padding_mask=real)
    wanted = formula(dict(module.named_parameters()), x, patterns, real=real)
    assert_same_numbers(got, wanted, [x, *module.parameters()])


@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("form", ["complex", "real"])
@pytest.mark.parametrize("case", ["groups that lie apart", "one group has keys"])
def test_it_is_its_formula_with_rotary_embeddings(case, form, qk_norm):
    module, x, patterns = make(use_rope=True, qk_norm=qk_norm), tokens(), PATTERNS[case]
    points = torch.randn(BATCH, TOKENS, POINTS, dtype=torch.float64)
    freqs = RopeFrequency(WIDTH, POINTS, implementation=form)(points)

    got = module(x, specs_of(SIZES), patterns_of(patterns), freqs=freqs)

    wanted = formula(
        dict(module.named_parameters()),
        x,
        patterns,
        turn=lambda heads: rotated(heads, points, form),
    )
    assert_same_numbers(got, wanted, [x, *module.parameters()], atol=2e-6)


@pytest.mark.parametrize("form", ["complex", "real"])
def test_a_batch_may_share_its_frequencies(form):
    module, x, patterns = (
        make(use_rope=True),
        tokens(),
        patterns_of(PATTERNS["groups that lie apart"]),
    )
    rope, points = RopeFrequency(WIDTH, POINTS, implementation=form), torch.randn(TOKENS, POINTS)
    wanted = module(x, specs_of(SIZES), patterns, freqs=rope(points.expand(BATCH, TOKENS, POINTS)))
    for shared in (points, points[None]):
        assert torch.equal(module(x, specs_of(SIZES), patterns, freqs=rope(shared)), wanted)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize(
    "patterns",
    [
        [
            ((S,), (V,)),
            ((V,), (S,)),
            ((W,), (W, V)),
        ],  # a group without tokens is the only one with keys
        [((S, V), (V, S)), ((W,), (V,))],
        [((V,), (V,)), ((S, W), (W, V, S))],
        None,
    ],
    ids=str,
)
def test_groups_without_tokens_have_neither_queries_nor_keys(patterns, padded):
    module, x, sizes = make(), tokens(), {S: 5, V: 0, W: 18}
    real = MASKS["some padding"] if padded else None
    got = module(x, specs_of(sizes), patterns_of(patterns), key_padding_mask=real)
    wanted = formula(dict(module.named_parameters()), x, patterns, sizes=sizes, real=real)
    assert_same_numbers(got, wanted, [x, *module.parameters()])


def test_no_tokens_at_all_give_no_tokens():
    y = make()(
        torch.zeros(BATCH, 0, HIDDEN).double(),
        specs_of({S: 0, V: 0}),
        patterns_of([((S, V), (V,))]),
    )
    assert y.shape == (BATCH, 0, HIDDEN)
    assert make()(torch.zeros(BATCH, 0, HIDDEN).double(), []).shape == (BATCH, 0, HIDDEN)


def test_a_group_whose_keys_are_all_padding_gets_the_bias_of_the_projection():
    module, x, real = make(), tokens(), torch.arange(TOKENS).expand(BATCH, TOKENS) >= 5
    y = module(
        x, specs_of(SIZES), patterns_of([((V,), (S,)), ((S, W), (S, W))]), key_padding_mask=real
    )
    y.square().sum().backward()

    torch.testing.assert_close(
        y[:, 5:12], module.proj.bias.expand(BATCH, 7, HIDDEN), rtol=0, atol=0
    )
    assert (y[:, 12:] != module.proj.bias).any(-1).all()
    assert not x.grad[:, 5:12].any()
    assert all(parameter.grad.isfinite().all() for parameter in [x, *module.parameters()])


def test_groups_that_all_attend_to_all_are_dot_product_attention():
    module, x = make(qk_norm=True), tokens()
    plain = DotProductAttention(
        DotProductAttentionConfig(hidden_dim=HIDDEN, num_heads=HEADS, qk_norm=True)
    ).double()
    plain.load_state_dict(module.state_dict())
    torch.testing.assert_close(module(x, specs_of(SIZES)), plain(x), rtol=0, atol=1e-12)


def test_only_groups_that_are_attended_to_are_projected_to_keys_and_values():
    module, counts = make(), {}
    for name in ("q", "k", "v"):
        getattr(module, name).register_forward_hook(
            lambda _, given, __, name=name: counts.update({name: given[0].shape})
        )
    module(tokens(), specs_of(SIZES), patterns_of([((S, W), (V,)), ((V,), (S, V))]))
    assert counts == {"q": (BATCH, 23, HIDDEN), "k": (BATCH, 12, HIDDEN), "v": (BATCH, 12, HIDDEN)}


def test_keys_that_lie_behind_each_other_are_used_where_they_lie(monkeypatch):
    attend, memories = mixed_module.attend, set()

    def watch(queries, keys, values, **arguments):
        memories.add((keys.untyped_storage().data_ptr(), values.untyped_storage().data_ptr()))
        return attend(queries, keys, values, **arguments)

    monkeypatch.setattr(mixed_module, "attend", watch)
    make()(tokens(), specs_of(SIZES), patterns_of([((S,), (S, V)), ((V,), (V, W)), ((W,), (W,))]))
    assert len(memories) == 1


def test_dropout_falls_on_attention_weights_and_on_the_output():
    module, x, patterns = (
        make(dropout=0.5),
        tokens(),
        patterns_of(PATTERNS["groups that lie apart"]),
    )
    with torch.no_grad():
        module.v.weight.zero_()
        module.v.bias.fill_(1.0)  # every row is the sum of the weights that were not dropped
        module.proj.weight.copy_(torch.eye(HIDDEN))
        module.proj.bias.zero_()
        y = module(x, specs_of(SIZES), patterns)
        kept = y[y != 0]
        assert 0.3 < len(kept) / y.numel() < 0.7
        assert kept.std() > 0.1
        assert kept.mean() == pytest.approx(2, abs=0.2)
        assert torch.allclose(module.eval()(x, specs_of(SIZES), patterns), torch.ones(()).double())


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
    assert not torch.equal(twin(x, specs_of(SIZES)), module(x, specs_of(SIZES)))

    twin.load_state_dict(state)

    assert torch.equal(twin(x, specs_of(SIZES)), module(x, specs_of(SIZES)))
    assert "qkv.weight" not in twin.state_dict()


ALL = "'surface', 'volume', 'wake'"
QUERIES_MATCH = (
    "attention_patterns: the set of query tokens must exactly match the groups of `token_specs`;"
)
MISFITS = {
    "sizes that do not add up": (
        {S: 5, V: 7, W: 10},
        None,
        (
            "token_specs: Token specs total size 22 is not the number of tokens 23; "
            "the groups are surface 5, volume 7, wake 10"
        ),
    ),
    "a group that is not in the input": (
        {S: 23, V: None},
        None,
        (
            "token_specs: 'volume' is of size None, is attended to, and no kv_cache "
            "holds its keys; pass one, or its size"
        ),
    ),
    "a query in two patterns": (
        SIZES,
        [((S, V), (S,)), ((W,), (S,)), ((V,), (W,))],
        (
            "attention_patterns: 'volume' cannot be a query in multiple patterns, "
            "and stands in attention_patterns[0] and attention_patterns[2]"
        ),
    ),
    "a group that is no query": (
        SIZES,
        [((S, W), (S,))],
        f"{QUERIES_MATCH} the 2 queries are 'surface', 'wake', the 3 groups are {ALL}",
    ),
    "a query that is no group": (
        SIZES,
        [((S, V, W), (S,)), (("wakes",), (S,))],
        f"{QUERIES_MATCH} the 4 queries are {ALL}, 'wakes', the 3 groups are {ALL}",
    ),
    "no patterns": (SIZES, [], f"{QUERIES_MATCH} the 0 queries are none, the 3 groups are {ALL}"),
    "a key that is no group": (
        SIZES,
        [((S, V), (S,)), ((W,), (S, "wakes"))],
        (
            "attention_patterns[1].key_value_tokens: 'wakes' is not defined in `token_specs`, "
            "which define 'surface', 'volume', 'wake'"
        ),
    ),
}


@pytest.mark.parametrize(("sizes", "patterns", "message"), MISFITS.values(), ids=MISFITS)
def test_groups_and_patterns_that_do_not_fit_are_refused_with_names_and_numbers(
    sizes, patterns, message
):
    with pytest.raises(TokenGroupError, match=f"^{re.escape(message)}$") as caught:
        make()(tokens(), specs_of(sizes), patterns_of(patterns))
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (
            [TokenSpec(S, 5), TokenSpec(V, 7), TokenSpec(S, 11)],
            "token_specs: 'surface' names two groups; give each a name of its own",
        ),
        (
            [TokenSpec(S, 5), ("volume", 18)],
            "token_specs: expected a list of TokenSpec, got ('volume', 18) in it",
        ),
    ],
)
def test_groups_are_specs_with_a_name_of_their_own(specs, message):
    with pytest.raises(TokenGroupError, match=f"^{re.escape(message)}$"):
        make()(tokens(), specs)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(BATCH, 22).bool(), "got shape (2, 22), wanted (batch, tokens) = (2, 23)"),
        (torch.ones(1, TOKENS).bool(), "got shape (1, 23), wanted (batch, tokens) = (2, 23)"),
        (torch.ones(3, TOKENS).bool(), "got shape (3, 23), wanted (batch, tokens) = (2, 23)"),
        (torch.ones(TOKENS).bool(), "got shape (23,), wanted (batch, tokens) = (2, 23)"),
        (torch.ones(BATCH, TOKENS), "got torch.float32, wanted torch.bool, True for real tokens"),
    ],
)
def test_a_padding_mask_is_one_boolean_per_token_of_the_whole_input(mask, message):
    with pytest.raises(ShapeError, match=f"^key_padding_mask: {re.escape(message)}$"):
        make()(tokens(), specs_of(SIZES), key_padding_mask=mask)


def test_tokens_of_another_width_are_refused():
    with pytest.raises(
        ShapeError, match=r"^x: got shape \(2, 23, 38\), wanted \(batch, tokens, 39\)$"
    ):
        make()(tokens()[..., 1:], specs_of(SIZES))


def test_rotary_frequencies_are_given_exactly_if_the_config_says_so():
    freqs = RopeFrequency(WIDTH, POINTS)(torch.zeros(BATCH, TOKENS, POINTS))
    with pytest.raises(ShapeError, match="RoPE usage mismatch: use_rope is true"):
        make(use_rope=True)(tokens(), specs_of(SIZES))
    with pytest.raises(
        UnsupportedArgumentError, match="RoPE usage mismatch: use_rope is false"
    ) as caught:
        make()(tokens(), specs_of(SIZES), freqs=freqs)
    assert (caught.value.variant, caught.value.argument) == ("mixed", "freqs")


def test_frequencies_are_those_of_the_whole_input():
    freqs = RopeFrequency(WIDTH, POINTS)(torch.zeros(BATCH, 12, POINTS))
    with pytest.raises(
        ShapeError,
        match=r"^freqs: got shape \(2, 12, 6\), wanted \(batch, tokens, width\) = \(2, 23",
    ):
        make(use_rope=True)(tokens(), specs_of(SIZES), freqs=freqs)


def test_its_config_is_one_of_dot_product_attention_with_a_type_of_its_own():
    config = MixedAttentionConfig(hidden_dim=HIDDEN, num_heads=HEADS)
    assert isinstance(config, DotProductAttentionConfig)
    assert config.type == "mixed"


def test_a_generic_config_builds_it():
    generic = AttentionConfig(type="mixed", hidden_dim=HIDDEN, num_heads=HEADS, qk_norm=True)
    concrete = MixedAttentionConfig(hidden_dim=HIDDEN, num_heads=HEADS, qk_norm=True)
    assert MixedAttention(generic).config == concrete
    assert MixedAttention(concrete).config is concrete
    assert build(generic).config == concrete


@pytest.mark.parametrize(
    "config",
    [
        AttentionConfig(type="transolver", hidden_dim=HIDDEN, num_heads=HEADS),
        DotProductAttentionConfig(hidden_dim=HIDDEN, num_heads=HEADS),
    ],
    ids=lambda config: config.type,
)
def test_a_config_of_another_variant_is_refused(config):
    with pytest.raises(ConfigError, match=config.type):
        MixedAttention(config)


def test_what_is_no_pattern_is_refused():
    with pytest.raises(
        TokenGroupError, match="expected a list of AttentionPattern, got a dict in it"
    ):
        make()(
            torch.zeros(1, 4, HIDDEN, dtype=torch.float64),
            [TokenSpec("a", 4)],
            [{"query_tokens": ["a"]}],
        )


def test_groups_and_patterns_may_come_from_generators():
    module, x = make(), torch.randn(1, 4, HIDDEN, dtype=torch.float64)
    specs, patterns = [TokenSpec("a", 1), TokenSpec("b", 3)], [AttentionPattern(["a", "b"], ["b"])]
    assert torch.equal(module(x, iter(specs), iter(patterns)), module(x, specs, patterns))


def watched(monkeypatch):
    """Return a list to which every call of the kernel adds the shapes of its queries and keys."""
    attend, met = mixed_module.attend, []

    def watch(queries, keys, values, **arguments):
        met.append((tuple(queries.shape), tuple(keys.shape)))
        return attend(queries, keys, values, **arguments)

    monkeypatch.setattr(mixed_module, "attend", watch)
    return met


EQUAL = {"a": 2, "b": 5, "c": 2, "d": 5, "e": 2, "f": 5}
SHARED = {
    "each pair attends to its first": (
        [(("a", "b"), ("a",)), (("c", "d"), ("c",)), (("e", "f"), ("e",))],
        [(6, 7, 2)],
    ),
    "pairs attend to each other, in any order": (
        [(("d", "c"), ("b", "a")), (("a", "b"), ("c", "d"))],
        [(4, 7, 7)],
    ),
    "one attends to more": (
        [(("a", "b"), ("a",)), (("c", "d"), ("c",)), (("e", "f"), ("e", "f"))],
        [(2, 7, 2), (2, 7, 2), (2, 7, 7)],
    ),
    "queries that stand apart": (
        [(("a", "c"), ("a",)), (("b", "d"), ("d",))],
        [(2, 4, 2), (2, 10, 5)],
    ),
    "equal queries that stand apart": (
        [(("a", "d"), ("a",)), (("b", "c"), ("c",))],
        [(2, 7, 2)] * 2,
    ),
    "keys of two": ([(("a", "b"), ("a", "b")), (("c", "d"), ("b", "c"))], [(2, 7, 7)] * 2),
    "groups with the same keys": (
        [(("a",), ("c", "b")), (("b", "d"), ("b", "c")), (("c",), ("a",))],
        [(2, 12, 7), (2, 2, 2)],
    ),
}


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize(("patterns", "shapes"), SHARED.values(), ids=SHARED)
def test_patterns_of_equal_shape_share_a_call_of_the_kernel(monkeypatch, patterns, shapes, padded):
    names = sorted({name for queries, _ in patterns for name in queries})
    sizes = {name: EQUAL[name] for name in names}
    module, met = make(qk_norm=True), watched(monkeypatch)
    x = torch.randn(BATCH, sum(sizes.values()), HIDDEN, dtype=torch.float64, requires_grad=True)
    real = torch.arange(x.shape[1]) % 5 < torch.tensor([[2], [4]]) if padded else None

    got = module(x, specs_of(sizes), patterns_of(patterns), key_padding_mask=real)

    assert sorted((queries[0], queries[2], keys[2]) for queries, keys in met) == sorted(shapes)
    wanted = formula(dict(module.named_parameters()), x, patterns, sizes=sizes, real=real)
    assert_same_numbers(got, wanted, [x, *module.parameters()])


def test_a_layout_is_worked_out_once_for_all_modules():
    remembered = mixed_module.remembered_plan
    remembered.cache_clear()
    for _ in range(3):
        make()(tokens(), specs_of(SIZES), patterns_of(PATTERNS["groups that lie apart"]))
    assert remembered.cache_info()[:2] == (2, 1)
    assert remembered.cache_info().maxsize


def test_a_module_looks_a_layout_up_only_when_it_is_another_one():
    module, remembered = make(), mixed_module.remembered_plan
    x, patterns = tokens(), patterns_of(PATTERNS["groups that lie apart"])
    remembered.cache_clear()
    for _ in range(3):
        module(x, specs_of(SIZES), list(patterns))
    assert sum(remembered.cache_info()[:2]) == 1

    wanted = make()
    wanted.load_state_dict(module.state_dict())
    for some in (None, patterns, patterns[::-1], None):
        torch.testing.assert_close(
            module(x, specs_of(SIZES), some), wanted(x, specs_of(SIZES), some), rtol=0, atol=0
        )
        wanted._last = None
    with pytest.raises(TokenGroupError):
        module(x[:, 1:], specs_of(SIZES), patterns)


def test_a_key_that_is_named_twice_counts_twice():
    module, x = make(), tokens()
    patterns = [((S, V, W), (S, V, S))]
    got = module(x, specs_of(SIZES), patterns_of(patterns))
    assert_same_numbers(
        got, formula(dict(module.named_parameters()), x, patterns), [x, *module.parameters()]
    )


def test_the_kernel_is_that_of_the_config(monkeypatch):
    seen, attend = [], mixed_module.attend

    def watch(*tensors, backend, **arguments):
        seen.append(backend)
        return attend(*tensors, backend=backend, **arguments)

    monkeypatch.setattr(mixed_module, "attend", watch)
    for backend in ("math", "auto"):
        make(backend=backend)(tokens(), specs_of(SIZES))
    assert seen == ["math", "auto"]


def test_gradients_of_gradients_are_those_of_the_formula_with_the_kernel_that_has_them():
    module, x = (
        make(backend="math"),
        torch.randn(1, 6, HIDDEN, dtype=torch.float64, requires_grad=True),
    )
    specs = specs_of({"a": 2, "b": 1, "c": 2, "d": 1})
    patterns = patterns_of([(("a", "b"), ("a",)), (("c", "d"), ("c",))])
    assert torch.autograd.gradgradcheck(lambda x: module(x, specs, patterns)[..., :3], x)
