"""Weights for each domain, against the formula written out in float64 token by token."""

import copy
import itertools
import math
import re
import warnings

import attrs
import pytest
import torch
from torch import nn

from noether_core import AnyAttention, AttentionPattern, TokenGroupError, TokenSpec, build, registry
from noether_core.errors import CacheError
from noether_core.nn import KVCache, RopeFrequency, layers
from noether_core.nn.domains import DomainTokens
from noether_core.testing import check_variant
from noether_plugins.attention.perceiver import module as perceiver_module
from tests.plugins.attention.adapters import AdaptedLinear, linear_layers, replaced
from tests.plugins.attention.formulas import (
    assert_same_numbers,
    linear,
    rms_normed,
    rotated,
    with_own_norms,
)
from tests.sampling import sampled

BATCH, HEADS, WIDTH, KV_DIM, KEYS, POINTS = 2, 3, 5, 13, 17, 2
HIDDEN = HEADS * WIDTH
SA, SQ, VA, VQ = "surface_anchors", "surface_queries", "volume_anchors", "volume_queries"
EQUAL = {SA: 3, SQ: 4, VA: 3, VQ: 4}
UNEVEN = {VA: 5, VQ: 0, SQ: 7, SA: 2}
THREE = {SA: 2, "wake_anchors": 0, VQ: 3, VA: 5, "probe_queries": 4}

ATTENDED = {
    "mixed": {SA: (SA, VA), SQ: (VA,), VA: (VA,), VQ: (SA,)},
    "self_anchor": {SA: (SA,), SQ: (SA,), VA: (VA,), VQ: (VA,)},
    "cross_anchor": {SA: (VA,), SQ: (VA,), VA: (SA,), VQ: (SA,)},
    "joint_anchor": dict.fromkeys(EQUAL, (SA, VA)),
}
"""The groups that each group attends to."""

GROUPED = list(ATTENDED)


def make(variant, **options):
    if variant.endswith("_anchor"):
        options["branches"] = ["surface", "volume"]
    if variant == "perceiver":
        options["kv_dim"] = KV_DIM
    options = {"num_types": 2, "init_weights": "torch", **options}
    return with_own_norms(build(variant, hidden_dim=HIDDEN, num_heads=HEADS, **options))


def specs_of(sizes):
    return [TokenSpec(name, size) for name, size in sizes.items()]


def patterns_of(attended):
    return [AttentionPattern((query,), keys) for query, keys in attended.items()]


def tokens(sizes, width=HIDDEN):
    count = sum(size or 0 for size in sizes.values())
    return torch.randn(BATCH, count, width, dtype=torch.float64, requires_grad=True)


def call(module, x, sizes, **options):
    if module.config.type == "mixed":
        attended = options.pop("attended", ATTENDED["mixed"])
        options["attention_patterns"] = patterns_of({name: attended[name] for name in sizes})
    return module(x, specs_of(sizes), **options)


def by_domain(state, name, x, sizes):
    """Apply to each token the layer of its domain."""
    domain_of = {group: group.split("_")[0] for group in sizes}
    domains = list(dict.fromkeys(domain_of[group] for group in sizes if sizes[group] != 0))
    numbers = []
    for group, size in sizes.items():
        numbers += [domains.index(domain_of[group])] * size if size else []
    weights = torch.stack([state[f"{name}.weight.{number}"] for number in numbers])
    y = torch.einsum("bni,noi->bno", x, weights)
    if f"{name}.bias.0" in state:
        y = y + torch.stack([state[f"{name}.bias.{number}"] for number in numbers])
    return y


def heads_of(state, name, features, turn):
    heads = features.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
    if f"{name}_norm.weight" in state:
        heads = rms_normed(heads, state[f"{name}_norm.weight"])
    return turn(heads)


def softmax_of(q, k, v, allowed):
    """Attend where *allowed*, ``(batch or 1, queries, keys)``; zeros where that is nowhere."""
    logits = (q @ k.transpose(-1, -2) / math.sqrt(WIDTH)).masked_fill(~allowed[:, None], -1e30)
    return (logits.softmax(-1) * allowed[:, None]) @ v


def formula(state, x, sizes, attended, *, real=None, turn=lambda heads: heads):
    q, k = (heads_of(state, name, by_domain(state, name, x, sizes), turn) for name in "qk")
    v = by_domain(state, "v", x, sizes).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
    groups = list(itertools.chain(*([name] * size for name, size in sizes.items())))
    allowed = torch.tensor([[[key in attended[query] for key in groups] for query in groups]])
    allowed = allowed if real is None else allowed & real[:, None]
    heads = softmax_of(q, k, v, allowed)
    return by_domain(state, "proj", heads.transpose(1, 2).flatten(-2), sizes)


def state_of(module):
    return {
        name.removeprefix("mixed_attention."): value for name, value in module.named_parameters()
    }


@pytest.mark.parametrize("options", [{}, {"bias": False, "qk_norm": True}], ids=["", "normed"])
@pytest.mark.parametrize("sizes", [EQUAL, UNEVEN], ids=["equal", "uneven"])
@pytest.mark.parametrize("variant", GROUPED)
def test_groups_are_attended_to_with_the_weights_of_their_domain(variant, sizes, options):
    module, x = make(variant, **options), tokens(sizes)
    real = torch.rand(BATCH, x.shape[1]) < 0.7
    for mask in (None, real):
        got = call(module, x, sizes, key_padding_mask=mask)
        wanted = formula(state_of(module), x, sizes, ATTENDED[variant], real=mask)
        rows = ... if mask is None else mask[..., None].expand_as(got)
        assert_same_numbers(got[rows], wanted[rows], [x, *module.parameters()])


def test_domains_are_counted_among_groups_with_tokens_and_rotated_by_position():
    module, x = make("mixed", num_types=3, use_rope=True, qk_norm=True), tokens(THREE)
    attended = {**dict.fromkeys(THREE, (VA, "probe_queries", SA)), VQ: (VQ,)}
    points = torch.randn(BATCH, x.shape[1], POINTS, dtype=torch.float64)
    freqs = RopeFrequency(WIDTH, POINTS)(points)
    got = call(module, x, THREE, attended=attended, freqs=freqs)
    wanted = formula(
        state_of(module), x, THREE, attended, turn=lambda heads: rotated(heads, points, "complex")
    )
    assert_same_numbers(got, wanted, [x, *module.parameters()], atol=2e-6)


@pytest.mark.parametrize("sizes", [EQUAL, UNEVEN, {SQ: None, VQ: 7}], ids=str)
def test_queries_of_cross_attention_have_the_weights_of_their_domain(sizes):
    module, x, kv = make("perceiver", qk_norm=True), tokens(sizes), tokens({"kv": KEYS}, KV_DIM)
    got = module(x, kv, token_specs=specs_of(sizes))

    state = dict(module.named_parameters())
    q = heads_of(state, "q", by_domain(state, "q", x, sizes), lambda heads: heads)
    k = heads_of(state, "k", linear(state, "k", kv), lambda heads: heads)
    v = linear(state, "v", kv).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
    heads = softmax_of(q, k, v, torch.ones(1, x.shape[1], KEYS, dtype=torch.bool))
    wanted = by_domain(state, "proj", heads.transpose(1, 2).flatten(-2), sizes)
    # A group that is not among the queries only counts its domain.
    used = [value for name, value in state.items() if None not in sizes.values() or "0" not in name]
    assert_same_numbers(got, wanted, [x, kv, *used])


@torch.no_grad()
def test_queries_in_chunks_have_the_weights_of_their_domain():
    module, sizes = make("perceiver", qk_norm=True), {SQ: 9, VQ: 11}
    chunked = make("perceiver", qk_norm=True, chunk_size=4)
    chunked.load_state_dict(module.state_dict())
    x, kv = tokens(sizes), tokens({"kv": KEYS}, KV_DIM)
    wanted = module(x, kv, token_specs=specs_of(sizes))
    torch.testing.assert_close(chunked(x, kv, token_specs=specs_of(sizes)), wanted)
    cache = KVCache()
    chunked(x, kv, token_specs=specs_of(sizes), kv_cache=cache)
    torch.testing.assert_close(
        chunked(x, None, token_specs=specs_of(sizes), kv_cache=cache), wanted
    )


@pytest.mark.parametrize("variant", ["mixed", "self_anchor"])
def test_weights_of_one_domain_are_those_of_all(variant):
    branches = {} if variant == "mixed" else {"branches": ["surface"]}
    own, tied = (
        build(variant, hidden_dim=HIDDEN, num_heads=HEADS, num_types=number, **branches).double()
        for number in (1, None)
    )
    tied.load_state_dict(
        {name.removesuffix(".0"): value for name, value in own.state_dict().items()}
    )
    sizes = {SA: 3, SQ: 5}
    x = tokens(sizes)
    assert torch.equal(own(x, specs_of(sizes)), tied(x, specs_of(sizes)))


@pytest.mark.parametrize("variant", GROUPED)
def test_two_passes_with_a_cache_are_one(variant):
    module, x, cache = make(variant, qk_norm=True), tokens(EQUAL), KVCache()
    y = call(module, x, EQUAL)
    surface, _, volume, queries = x.split(list(EQUAL.values()), 1)
    call(module, torch.cat([surface, volume], 1), {SA: 3, VA: 3}, kv_cache=cache)

    # Queries of one domain, beside which the other is only named.
    later = {SA: None, VA: None, VQ: 4}
    torch.testing.assert_close(call(module, queries, later, kv_cache=cache), y[:, 10:])

    message = (
        "kv_cache: was filled with the domains 'surface', 'volume', in this order, and this call "
        "counts 'volume', 'surface'; name them in the order of the cache"
    )
    swapped = dict(reversed(later.items()))
    for kept in (cache, copy.deepcopy(cache)):
        with pytest.raises(CacheError, match=f"^{re.escape(message)}$"):
            call(module, queries, swapped, kv_cache=kept)
    cache.clear()
    call(module, x, {VA: 3, VQ: 4, SA: 3, SQ: 4}, kv_cache=cache)


MISFITS = {
    "too many": ({SA: 3, VA: 4, "wake_anchors": 5}, "are 3: 'surface', 'volume', 'wake';"),
    "too few": ({SA: 3, SQ: 4, VA: 0}, "are 1: 'surface';"),
    "apart": ({SA: 3, VA: 4, SQ: 5}, "the groups of domain 'surface' lie apart: 'volume_anchors'"),
}


@pytest.mark.parametrize(("sizes", "message"), MISFITS.values(), ids=MISFITS)
@pytest.mark.parametrize("variant", ["mixed", "perceiver"])
def test_domains_that_do_not_fit_are_refused_by_name(variant, sizes, message):
    module, x = make(variant), tokens(sizes)
    keys = [tokens({"kv": KEYS}, KV_DIM)] if variant == "perceiver" else []
    with pytest.raises(TokenGroupError, match=re.escape(message)):
        module(x, *keys, token_specs=specs_of(sizes))


def test_cross_attention_asks_for_groups_and_counts_their_tokens():
    module, x, kv = make("perceiver"), tokens(EQUAL), tokens({"kv": KEYS}, KV_DIM)
    with pytest.raises(TokenGroupError, match=r"^token_specs: got None, wanted the groups of q:"):
        module(x, kv)
    tied = make("perceiver", num_types=None)
    assert torch.equal(tied(x, kv, token_specs=specs_of(EQUAL)), tied(x, kv))
    for each in (module, tied):
        with pytest.raises(TokenGroupError, match="total size 13 is not the number of tokens 14"):
            each(x, kv, token_specs=specs_of({**EQUAL, SA: 2}))


@pytest.mark.parametrize(
    ("variant", "stack", "shared"),
    [("mixed", "qkv", False), ("joint_anchor", "qkv", False), ("perceiver", "kv", True)],
)
def test_stacked_weights_load_for_each_domain(variant, stack, shared):
    module, twin = make(variant), make(variant)
    prefix = "mixed_attention." if variant.endswith("_anchor") else ""
    state = module.state_dict()
    for leaf in ("weight", "bias"):
        for end in [""] if shared else [".0", ".1"]:
            parts = [state.pop(f"{prefix}{part}.{leaf}{end}") for part in stack]
            state[f"{prefix}{stack}.{leaf}{end}"] = torch.cat(parts)
    twin.load_state_dict(state)
    assert all(torch.equal(twin.state_dict()[k], v) for k, v in module.state_dict().items())


@pytest.mark.parametrize("variant", ["joint_anchor", "perceiver"])
def test_layers_of_domains_are_linear_layers_that_are_called(variant):
    module, x = make(variant), tokens(UNEVEN)
    given = (x, specs_of(UNEVEN)) if variant == "joint_anchor" else (x, tokens({"kv": 3}, KV_DIM))
    named = {} if variant == "joint_anchor" else {"token_specs": specs_of(UNEVEN)}
    names = linear_layers(module)
    assert len(names) == (8 if variant == "joint_anchor" else 6)
    adapted = replaced(module, names, AdaptedLinear)
    merged = replaced(adapted, names, lambda layer: layer.merged())
    y, plain = adapted(*given, **named), module(*given, **named)
    torch.testing.assert_close(y, merged(*given, **named))
    assert not torch.isclose(y, plain).all(-1).any()


@torch.no_grad()
def test_quantised_layers_of_domains_are_called():
    module, x = make("mixed").float().eval(), tokens(UNEVEN).float()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the function is to move
        quantised = torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, torch.qint8)
    y, wanted = call(quantised, x, UNEVEN), call(module, x, UNEVEN)
    assert not linear_layers(quantised)
    assert 0 < (y - wanted).abs().max() < 0.1 * wanted.abs().max()


@pytest.mark.parametrize("variant", ["mixed", "perceiver"])
def test_a_module_that_starts_as_the_identity_has_no_output_of_any_domain(variant):
    state = make(variant, init_weights="truncnormal002-identity").state_dict()
    zero = {name for name, value in state.items() if "weight" in name and not value.any()}
    assert zero == {"proj.weight.0", "proj.weight.1"}


@pytest.mark.parametrize("variant", [*GROUPED, "perceiver"])
def test_groups_of_any_attention_have_the_domains_of_their_names(variant):
    options = {"branches": ["surface", "volume"]} if variant.endswith("_anchor") else {}
    sizes = {"hidden_dim": HIDDEN, "num_heads": HEADS, "num_types": 2}
    attention = AnyAttention({"type": variant, **sizes, **options}).double()
    groups = {"surface": 5, "volume": 8}
    x = tokens(groups)
    y = attention(x, groups=groups)
    with torch.no_grad():
        for name, parameter in attention.named_parameters():
            if name.endswith("proj.bias.1"):
                parameter.add_(1)
    is_changed = ((attention(x, groups=groups) - y) > 0.5).all(-1).all(0)
    assert is_changed.tolist() == [False] * 5 + [True] * 8


@pytest.mark.parametrize("variant", ["mixed", "perceiver"])
def test_all_tokens_are_one_domain_where_any_attention_gets_no_groups(variant):
    options = {"type": variant, "hidden_dim": HIDDEN, "num_heads": HEADS}
    x = torch.randn(BATCH, 7, HIDDEN)
    assert AnyAttention({**options, "num_types": 1})(x).shape == x.shape
    with pytest.raises(TokenGroupError, match="num_types is 2"):
        AnyAttention({**options, "num_types": 2})(x)


KIT = (
    "state_dict",
    "copies",
    "meta_device",
    "few_tokens",
    "autocast",
    "layers_are_called",
    "permutation",
    "token_specs",
)
"""Checks that run every time; all by night."""


@pytest.mark.parametrize("checks", sampled([KIT, None], KIT), ids=["some", "all"])
@pytest.mark.parametrize("variant", ["mixed", "perceiver"])
def test_the_kit_finds_no_fault(variant, checks):
    record = registry().get(variant)
    typed = attrs.evolve(record, example={**record.example, "num_types": 2})
    report = check_variant(typed, only=checks)
    assert report.counts["failed"] == report.counts["error"] == 0, report


def test_the_kit_finds_domains_that_share_their_weights(monkeypatch):
    for module in (layers, perceiver_module):
        monkeypatch.setattr(module, "by_domain", lambda x, _: DomainTokens((x,), (0,)))
    (outcome,) = check_variant("perceiver", only=["token_specs"]).failures
    assert "with num_types, a token gets the same in another domain" in outcome.message
