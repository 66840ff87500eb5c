"""Two passes with a cache between them against one without, for every variant that takes one."""

import re
import weakref

import attrs
import pytest
import torch

from noether_core import AttentionPattern, ShapeError, TokenSpec, build, registry
from noether_core.errors import CacheError
from noether_core.nn import KVCache, RopeFrequency

BATCH, HEADS, WIDTH, POINTS, KV_DIM = 2, 3, 13, 3, 17
HIDDEN = HEADS * WIDTH
BRANCHES = ("surface", "volume", "wake")
ANCHOR_SIZES, QUERY_SIZES, KEYS = (3, 5, 2), (7, 11, 19), 23
MIXED_KEYS = {
    "surface": ("volume", "surface"),
    "volume": ("wake",),
    "wake": ("surface", "wake", "volume"),
}

ANCHORED = ["self_anchor", "cross_anchor", "joint_anchor"]
GROUPED = ["mixed", *ANCHORED]
every_variant = pytest.mark.parametrize("variant", [*GROUPED, "perceiver"])
every_grouped_variant = pytest.mark.parametrize("variant", GROUPED)


def joined(of, names):
    return torch.cat([of[name] for name in names], dim=1)


@attrs.frozen(eq=False)
class Scene:
    """A module and tokens by group: anchors, which have keys, and queries; for the perceiver ``kv``
    has the keys.
    """

    module: torch.nn.Module
    tokens: dict
    real: dict | None
    points: dict
    rope: RopeFrequency | None

    @property
    def anchors(self):
        return [name for name in self.tokens if not name.endswith("_queries")]

    @property
    def queries(self):
        return [name for name in self.tokens if name.endswith("_queries")]

    @property
    def missed(self):
        """The group that is missed first where anchors are not in a cache."""
        return self.anchors[1 if self.module.config.type == "cross_anchor" else 0]

    @property
    def everything(self):
        """All groups; by name, so that anchors and queries alternate."""
        return sorted(self.tokens)

    def run(self, given, cache=None, cached=()):
        """Return the output of a call by group: those *given*, beside those that are *cached*."""
        call = _call_cross if self.module.config.type == "perceiver" else _call_grouped
        names, y = call(self, given, cached, cache)
        lengths = [self.tokens[name].shape[1] for name in names]
        return dict(zip(names, y.split(lengths, dim=1), strict=True))

    def freqs(self, names):
        return self.rope(joined(self.points, names)) if self.rope and names else None

    def mask(self, names):
        return joined(self.real, names) if self.real and names else None

    def over(self, span):
        """Return the same scene with the tokens in *span* of every group."""
        parts = (self.tokens, self.real, self.points)
        tokens, real, points = (
            part and {name: value[:, span] for name, value in part.items()} for part in parts
        )
        return attrs.evolve(self, tokens=tokens, real=real, points=points)

    def with_tokens(self, change):
        return attrs.evolve(
            self, tokens={name: change(value) for name, value in self.tokens.items()}
        )


def _call_grouped(scene, given, cached, cache):
    specs = [TokenSpec(name, None) for name in cached]
    specs += [TokenSpec(name, scene.tokens[name].shape[1]) for name in given]
    arguments = {
        "freqs": scene.freqs(given),
        "key_padding_mask": scene.mask(given),
        "kv_cache": cache,
    }
    if scene.module.config.type == "mixed":
        anchors = dict(zip(BRANCHES, scene.anchors, strict=True))
        arguments["attention_patterns"] = [
            AttentionPattern((spec.name,), [anchors[branch] for branch in MIXED_KEYS[spec.domain]])
            for spec in specs
        ]
    return given, scene.module(joined(scene.tokens, given), specs, **arguments)


def _call_cross(scene, given, cached, cache):
    querying = [name for name in given if name != "kv"]
    fresh = [name for name in given if name == "kv"]
    own, names = (scene, querying) if querying else (scene.over(slice(0)), scene.queries)
    y = scene.module(
        joined(own.tokens, names),
        scene.tokens["kv"] if fresh else None,
        key_padding_mask=scene.mask(fresh),
        q_freqs=own.freqs(names),
        k_freqs=scene.freqs(fresh),
        kv_cache=cache,
    )
    return querying, y


def make(variant, *, rope=None, padded=False, suffix="_anchors", **options):
    """Return a scene in float64 with a module whose norms have weights of their own."""
    own = {"mixed": {}, "perceiver": {"kv_dim": KV_DIM}}
    sizes = {
        "hidden_dim": HIDDEN,
        "num_heads": HEADS,
        "init_weights": "torch",
        "use_rope": rope is not None,
    }
    branches = {"branches": BRANCHES, "anchor_suffix": suffix}
    module = build(variant, **{**sizes, **own.get(variant, branches), **options}).double()
    for name, parameter in module.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)

    anchors = dict(zip((branch + suffix for branch in BRANCHES), ANCHOR_SIZES, strict=True))
    anchors = {"kv": KEYS} if variant == "perceiver" else anchors
    counts = anchors | {
        f"{branch}_queries": size for branch, size in zip(BRANCHES, QUERY_SIZES, strict=True)
    }
    widths = {name: KV_DIM if name == "kv" else module.config.hidden_dim for name in counts}
    return Scene(
        module,
        {
            name: torch.randn(BATCH, n, widths[name], dtype=torch.float64)
            for name, n in counts.items()
        },
        {name: torch.arange(n) < torch.tensor([[n // 2], [n - 2]]) for name, n in counts.items()}
        if padded
        else None,
        {name: torch.randn(BATCH, n, POINTS) for name, n in counts.items()},
        None if rope is None else RopeFrequency(WIDTH, POINTS, implementation=rope),
    )


def filled(scene, **options):
    """Return a cache that a call with anchors alone filled."""
    cache = KVCache(**options)
    scene.run(scene.anchors, cache)
    return cache


def tensors(cache):
    return [tensor for group in cache._groups.values() for tensor in group if tensor is not None]


def assert_same(got, wanted):
    assert got.keys() == wanted.keys()
    for name in got:
        torch.testing.assert_close(got[name], wanted[name], rtol=0, atol=1e-12)


def test_every_variant_that_takes_a_cache_is_here():
    variants = {
        name for name in registry().types() if "kv_cache" in registry().get(name).capabilities
    }
    assert variants == {*GROUPED, "perceiver"}


OPTIONS = {
    "plain": {},
    "qk_norm": {"qk_norm": True},
    "complex rotation": {"rope": "complex"},
    "real rotation": {"rope": "real"},
    "padding": {"padded": True},
    "all at once": {"qk_norm": True, "rope": "complex", "padded": True},
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


@every_option
@every_variant
def test_two_passes_give_the_numbers_of_one(variant, options):
    scene, cache = make(variant, **options), KVCache()
    first = scene.run(scene.anchors, cache)
    second = scene.run(scene.queries, cache, cached=scene.anchors)
    assert_same(first | second, scene.run(scene.everything))


@every_option
@every_variant
def test_a_first_pass_may_hold_queries_too(variant, options):
    scene, cache = make(variant, **options), KVCache()
    early, *late = scene.queries
    first = scene.run([early, *scene.anchors], cache)
    second = scene.run(late, cache, cached=scene.anchors)
    assert_same(first | second, scene.run(scene.everything))


@pytest.mark.parametrize("suffix", ["_ctx", "-anchor", ""])
@pytest.mark.parametrize("variant", ANCHORED)
def test_anchors_may_have_any_suffix(variant, suffix):
    scene = make(variant, suffix=suffix)
    cache = filled(scene)
    second = scene.run(scene.queries, cache, cached=scene.anchors)
    wanted = scene.run(scene.everything)
    assert list(cache) == [branch + suffix for branch in BRANCHES]
    assert_same(second, {name: wanted[name] for name in scene.queries})


@every_option
@every_variant
def test_queries_may_come_in_chunks(variant, options):
    scene = make(variant, **options)
    cache, wanted = filled(scene), scene.run(scene.everything)
    spans = (slice(0, 3), slice(3, 4), slice(4, None))
    chunks = [scene.over(span).run(scene.queries, cache, cached=scene.anchors) for span in spans]
    got = {name: torch.cat([chunk[name] for chunk in chunks], dim=1) for name in scene.queries}
    assert_same(got, {name: wanted[name] for name in scene.queries})


@every_option
@pytest.mark.parametrize("fresh", [(0,), (1, 2)], ids=str)
@every_grouped_variant
def test_anchors_given_afresh_stand_beside_cached_ones_and_replace_those_of_their_name(
    variant, fresh, options
):
    scene = make(variant, **options)
    cache = filled(scene)
    given = [scene.anchors[index] for index in fresh]
    changed = attrs.evolve(
        scene, tokens=scene.tokens | {name: -scene.tokens[name] for name in given}
    )
    wanted = changed.run(scene.everything)

    got = changed.run(
        [*scene.queries, *given],
        cache,
        cached=[name for name in scene.anchors if name not in given],
    )

    assert_same(got, {name: wanted[name] for name in [*scene.queries, *given]})
    again = changed.run(scene.queries, cache, cached=scene.anchors)
    assert_same(again, {name: wanted[name] for name in scene.queries})


@pytest.mark.parametrize("padded_pass", [1, 2])
@every_grouped_variant
def test_padding_of_one_pass_alone_is_that_of_its_tokens(variant, padded_pass):
    scene = make(variant, padded=True)
    padded = scene.anchors[:2] if padded_pass == 1 else scene.anchors[2:]
    real = {name: mask | (name not in padded) for name, mask in scene.real.items()}
    wanted = attrs.evolve(scene, real=real).run(scene.everything)
    early = scene if padded_pass == 1 else attrs.evolve(scene, real=None)
    late = attrs.evolve(scene, real=None) if padded_pass == 1 else scene
    cache = KVCache()

    early.run(scene.anchors, cache)
    got = late.run([*scene.queries, scene.anchors[2]], cache, cached=scene.anchors[:2])

    assert_same(got, {name: wanted[name] for name in got})


@every_variant
def test_the_call_that_fills_a_cache_gives_the_numbers_and_gradients_of_one_without(variant):
    scene = make(variant, qk_norm=True, padded=True).with_tokens(torch.Tensor.requires_grad_)
    results = []
    for cache in (None, KVCache()):
        y = torch.cat(list(scene.run(scene.everything, cache).values()), dim=1)
        inputs = [*scene.tokens.values(), *scene.module.parameters()]
        results.append([y, *torch.autograd.grad(y.square().sum(), inputs)])
    assert all(torch.equal(without, beside) for without, beside in zip(*results, strict=True))


@every_variant
def test_a_cache_holds_the_groups_that_are_attended_to_and_no_other(variant):
    scene, cache = make(variant), KVCache()
    scene.run(scene.everything, cache)
    assert list(cache) == sorted(scene.anchors)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("padded", [True, False])
@every_variant
def test_a_cache_takes_the_memory_of_keys_values_and_masks_and_no_more(variant, padded, dtype):
    scene, cache = (
        make(variant, padded=padded, qk_norm=True).with_tokens(lambda value: value.to(dtype)),
        KVCache(),
    )
    scene.module.to(dtype)
    scene.run(scene.everything, cache)
    tokens = KEYS if variant == "perceiver" else sum(ANCHOR_SIZES)
    assert cache.nbytes == 2 * BATCH * HEADS * tokens * WIDTH * dtype.itemsize + (
        BATCH * tokens if padded else 0
    )
    for tensor in tensors(cache):
        assert tensor.is_contiguous()
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


@every_variant
def test_a_cache_may_be_filled_again_with_tokens_of_another_batch(variant):
    scene = make(variant)
    cache, single = filled(scene), scene.with_tokens(lambda value: value[:1])
    whole = single.run(scene.everything, cache)
    second = single.run(scene.queries, cache, cached=scene.anchors)
    assert_same(second, {name: whole[name] for name in scene.queries})
    assert {tensor.shape[0] for tensor in tensors(cache)} == {1}


@every_variant
def test_no_graph_is_kept_by_default(variant):
    scene = make(variant).with_tokens(torch.Tensor.requires_grad_)
    cache = filled(scene)
    assert not any(tensor.requires_grad for tensor in tensors(cache))

    second = scene.run(scene.queries, cache, cached=scene.anchors)
    sum(y.sum() for y in second.values()).backward()

    assert all(scene.tokens[name].grad is None for name in scene.anchors)
    assert all(scene.tokens[name].grad.any() for name in scene.queries)


@every_option
@every_variant
def test_with_a_kept_graph_gradients_flow_through_both_passes(variant, options):
    scene, cache = (
        make(variant, **options).with_tokens(torch.Tensor.requires_grad_),
        KVCache(keep_graph=True),
    )
    inputs = [*scene.tokens.values(), *scene.module.parameters()]
    whole = scene.run(scene.everything)
    cotangents = {name: torch.randn_like(y) for name, y in whole.items()}

    first = scene.run(scene.anchors, cache)
    second = scene.run(scene.queries, cache, cached=scene.anchors)

    got, wanted = (
        torch.autograd.grad(
            sum((y * cotangents[name]).sum() for name, y in outputs.items()), inputs
        )
        for outputs in (first | second, whole)
    )
    for gradient, gradient_wanted in zip(got, wanted, strict=True):
        torch.testing.assert_close(gradient, gradient_wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize("keep_graph", [True, False])
@every_variant
def test_what_is_cached_does_not_follow_later_changes_of_tokens_masks_and_weights(
    variant, keep_graph
):
    scene = make(variant, padded=True)
    cache = filled(scene, keep_graph=keep_graph)
    before = [tensor.clone() for tensor in tensors(cache)]
    with torch.no_grad():
        for tensor in [*scene.tokens.values(), *scene.module.parameters()]:
            tensor.zero_()
        for mask in scene.real.values():
            mask.logical_not_()
    assert all(
        torch.equal(tensor, kept) for tensor, kept in zip(tensors(cache), before, strict=True)
    )


@every_variant
def test_bfloat16_modules_cache_bfloat16(variant):
    scene = make(variant, qk_norm=True, rope="complex")
    exact = scene.run(scene.everything)
    low = scene.with_tokens(torch.Tensor.bfloat16)
    low.module.bfloat16()

    cache = filled(low)
    second = low.run(low.queries, cache, cached=low.anchors)

    assert {tensor.dtype for tensor in tensors(cache)} == {torch.bfloat16}
    for name, y in second.items():
        assert y.dtype == torch.bfloat16
        assert 0 < (y.double() - exact[name]).norm() / exact[name].norm() < 4 * 2**-8


def with_module(scene, change):
    """Return *scene* with module and tokens changed alike; the module stays the same one."""
    change(scene.module)
    return scene.with_tokens(change)


def like(scene, **options):
    """Return a scene of the same variant with another module."""
    return make(scene.module.config.type, **options)


MISFITS = {
    "batch": (lambda scene: scene.with_tokens(lambda value: value[:1]), "batch 2", "batch 1"),
    "heads": (lambda scene: like(scene, num_heads=13), "heads 3", "heads 13"),
    "head width": (
        lambda scene: like(scene, hidden_dim=HEADS * 7),
        "head width 13",
        "head width 7",
    ),
    "dtype": (
        lambda scene: with_module(scene, lambda it: it.float()),
        "dtype torch.float64",
        "dtype torch.float32",
    ),
    "device": (
        lambda scene: with_module(scene, lambda it: it.to("meta")),
        "device cpu",
        "device meta",
    ),
}


@pytest.mark.parametrize(("change", "cached", "asked"), MISFITS.values(), ids=MISFITS)
@every_variant
def test_a_cache_that_does_not_fit_is_refused_with_both_values(variant, change, cached, asked):
    scene = make(variant)
    cache, other = filled(scene), change(scene)
    message = f"kv_cache: {scene.missed!r} is cached with {cached}, and the queries have {asked}"
    with pytest.raises(CacheError, match=f"^{re.escape(message)}$") as caught:
        other.run(other.queries, cache, cached=other.anchors)
    assert isinstance(caught.value, ShapeError)
    assert isinstance(caught.value, ValueError)


@every_variant
def test_a_group_that_is_not_in_the_cache_is_reported_by_name(variant):
    scene = make(variant)
    with pytest.raises(
        CacheError, match=f"^kv_cache: '{scene.missed}' is not in the cache, which holds nothing$"
    ):
        scene.run(scene.queries, KVCache(), cached=scene.anchors)


@every_grouped_variant
def test_a_group_that_is_not_in_the_cache_is_reported_beside_those_that_are(variant):
    scene = make(variant)
    cache = filled(scene)
    del cache._groups["volume_anchors"]
    message = (
        "kv_cache: 'volume_anchors' is not in the cache, which holds surface_anchors, wake_anchors"
    )
    with pytest.raises(CacheError, match=f"^{message}$"):
        scene.run(scene.queries, cache, cached=scene.anchors)


@every_variant
def test_absent_tokens_without_a_cache_are_reported_with_the_way_out(variant):
    scene = make(variant)
    with pytest.raises(ValueError, match=f"{scene.missed}.* kv_cache"):
        scene.run(scene.queries, cached=scene.anchors)


@every_variant
def test_a_cache_serves_one_module_until_it_is_cleared(variant):
    scene, other = make(variant), make(variant)
    cache = filled(scene)
    with pytest.raises(CacheError, match="another module filled this cache"):
        other.run(other.queries, cache, cached=other.anchors)
    with pytest.raises(CacheError, match="another module filled this cache"):
        other.run(other.everything, cache)

    kept = [weakref.ref(tensor) for tensor in tensors(cache)]
    cache.clear()

    assert len(cache) == cache.nbytes == 0
    assert not any(reference() is not None for reference in kept)
    other.run(other.anchors, cache)
    wanted = other.run(other.everything)
    assert_same(
        other.run(other.queries, cache, cached=other.anchors),
        {name: wanted[name] for name in other.queries},
    )


def test_branches_that_do_not_attend_to_each_other_may_fill_a_cache_one_after_the_other():
    module = build(
        "self_anchor", hidden_dim=15, num_heads=3, branches=["a", "b"], init_weights="torch"
    ).double()
    x, cache = torch.randn(2, 11, 15, dtype=torch.float64), KVCache()
    whole = module(x, [TokenSpec("a_anchors", 4), TokenSpec("b_anchors", 7)])

    first = module(
        x[:, :4], [TokenSpec("a_anchors", 4), TokenSpec("b_anchors", None)], kv_cache=cache
    )
    second = module(
        x[:, 4:], [TokenSpec("a_anchors", None), TokenSpec("b_anchors", 7)], kv_cache=cache
    )

    torch.testing.assert_close(torch.cat([first, second], dim=1), whole, rtol=0, atol=1e-12)
    assert set(cache) == {"a_anchors", "b_anchors"}
