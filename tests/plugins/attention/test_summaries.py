"""Gather, merge and read: parts of the tokens get what one call with all of them gives."""

import itertools

import pytest
import torch

from noether_core import AttentionPattern, TokenGroupError, TokenSpec, build, registry
from noether_core.errors import SummaryError
from noether_core.nn import Summary, attend_in_parts, gather_in_parts, read_in_parts
from noether_core.schemas.schema import plan_of

BATCH, HEADS, TOKENS, WIDTH = 2, 3, 31, 5
HIDDEN = HEADS * WIDTH
REAL = torch.arange(TOKENS) < torch.tensor([[29], [17]])
SIZES = [1, 18, 0, 12]

VARIANTS = {
    "transolver": {"type": "transolver", "num_slices": 7},
    "transolver, folded": {"type": "transolver", "num_slices": 3},
    "transolver without bias, folded": {"type": "transolver", "num_slices": 3, "bias": False},
    "plusplus": {"type": "transolver_plusplus", "num_slices": 7},
    "plusplus, logits from tokens": {
        "type": "transolver_plusplus",
        "num_slices": 7,
        "use_overparameterization": False,
        "temperature_activation": "exp",
    },
    "flare_plusplus": {"type": "flare_plusplus", "num_latents": 7},
    "flare": {"type": "flare", "num_latents": 7, "latent_init_std": 1.0, "qk_norm": True},
    "linear, elu": {"type": "linear", "qk_norm": True},
    "linear, softmax": {"type": "linear", "feature_map": "softmax"},
    "galerkin": {"type": "galerkin"},
    "induced_set": {"type": "induced_set", "num_latents": 7, "qk_norm": True},
}
FORMS = {"held": {}, "tiles of 4": {"chunk_size": 4}, "math": {"backend": "math"}}
IN_FORMS = [
    pytest.param(options, form, id=f"{name}, {kind}")
    for name, options in VARIANTS.items()
    for kind, form in FORMS.items()
    if form.keys() <= plan_of(registry().get(options["type"]).config).options
]

each_variant = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)


def make(options, dtype=torch.float64, **others):
    sizes = {"hidden_dim": HIDDEN, "num_heads": HEADS, "init_weights": "torch"}
    return build({**sizes, **options, **others}).to(dtype)


def tokens(count=TOKENS, dtype=torch.float64):
    return torch.randn(BATCH, count, HIDDEN, dtype=dtype, requires_grad=True)


def parts_of(x, real=None, sizes=SIZES):
    """Return tokens in parts, with their padding."""
    parts = x.split_with_sizes(sizes, dim=1)
    if real is None:
        return parts
    masks = real.split_with_sizes(sizes, dim=1)
    return [{"x": x, "key_padding_mask": mask} for x, mask in zip(parts, masks, strict=True)]


def in_parts(module, x, real=None, sizes=SIZES):
    return torch.cat(list(attend_in_parts(module, parts_of(x, real, sizes))), dim=1)


def results(module, x, y):
    """Return the output and the gradients of tokens and parameters."""
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    return [y, *torch.autograd.grad((y * weights).sum(), [x, *module.parameters()])]


def seeded(function, *arguments, **options):
    torch.manual_seed(5)
    return function(*arguments, **options)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize(("options", "form"), IN_FORMS)
def test_parts_get_what_all_get_at_once_values_and_gradients(options, form, training):
    module = make(options, dropout=0.3 if training else 0.0, **form).train(training)
    x = tokens()
    got = seeded(in_parts, module, x, REAL)
    wanted = seeded(module, x, key_padding_mask=REAL)
    torch.testing.assert_close(results(module, x, got), results(module, x, wanted))


@pytest.mark.parametrize("form", [{}, {"chunk_size": 4}], ids=["held", "tiles of 4"])
@each_variant
@torch.no_grad()
def test_parts_get_it_where_no_gradient_is_due(options, form):
    module, x = make(options, **form).eval(), tokens()
    torch.testing.assert_close(in_parts(module, x, REAL), module(x, key_padding_mask=REAL))


@each_variant
def test_tokens_read_what_others_contributed(options):
    module, x, others = make(options).eval(), tokens(), tokens(7)
    summaries = gather_in_parts(module, [x])
    y = module.read(others, *summaries)
    for index in (0, 6):
        alone = module.read(others[:, index : index + 1], *summaries)
        torch.testing.assert_close(alone, y[:, index : index + 1])


@each_variant
def test_a_summary_counts_in_the_dtype_of_sums(options):
    module = make(options, dtype=torch.bfloat16).eval()
    summaries = gather_in_parts(module, [tokens(dtype=torch.bfloat16)])
    parts = [part for summary in summaries for part in summary.parts.values()]
    assert {tensor.dtype for part in parts for tensor in part} == {torch.float32}
    assert module.read(tokens(dtype=torch.bfloat16), *summaries).dtype == torch.bfloat16


@each_variant
def test_under_autocast_parts_get_what_all_get(options):
    module, x = make(options, dtype=torch.float32).eval(), tokens(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        got, wanted = in_parts(module, x), module(x)
    assert got.dtype == wanted.dtype
    torch.testing.assert_close(got, wanted, rtol=0.05, atol=0.05)


@each_variant
def test_evaluation_draws_nothing(options):
    module, x = make(options, dropout=0.3).eval(), tokens()
    before = torch.get_rng_state()
    assert module.gather(x).seed is None
    assert torch.equal(torch.get_rng_state(), before)


@each_variant
def test_parts_of_one_seed_agree_and_others_are_refused(options):
    module = make(options, dropout=0.3)
    first, second = parts_of(tokens(), sizes=[14, 17])
    one = seeded(module.gather, first)
    assert torch.equal(seeded(module.gather, second, first_token=14).seed, one.seed)
    one.merge(module.gather(second, first_token=14, seed=one.seed))
    with pytest.raises(SummaryError, match="other random numbers"):
        one.merge(module.gather(second, first_token=14))


def test_what_is_gone_through_once_is_refused():
    module, x = make(VARIANTS["flare"]), tokens()
    with pytest.raises(SummaryError, match=r"^parts: got a generator, which can be gone through"):
        attend_in_parts(module, (part for part in parts_of(x)))


def test_no_parts_are_refused():
    with pytest.raises(SummaryError, match=r"^parts: there are none$"):
        attend_in_parts(make(VARIANTS["flare"]), [])


def test_a_module_that_gathers_nothing_is_refused():
    module = make({"type": "dot_product"})
    with pytest.raises(SummaryError, match=r"^module: a DotProductAttention gathers nothing; "):
        attend_in_parts(module, [tokens()])


def test_parts_are_made_anew_each_time_and_held_one_at_a_time():
    module, x = make(VARIANTS["transolver"]).eval(), tokens()

    class Parts:
        made = 0

        def __iter__(self):
            for part in parts_of(x):
                self.made += 1
                yield part

    parts = Parts()
    results = attend_in_parts(module, parts)
    assert parts.made == 4
    next(results)
    assert parts.made == 5


GROUPED = {
    "mixed": {"type": "mixed"},
    "self_anchor": {"type": "self_anchor", "branches": ("surface", "volume")},
    "cross_anchor": {"type": "cross_anchor", "branches": ("surface", "volume")},
    "joint_anchor": {"type": "joint_anchor", "branches": ("surface", "volume")},
}
SPECS = [
    TokenSpec("surface_anchors", 5),
    TokenSpec("surface_queries", 9),
    TokenSpec("volume_anchors", 7),
    TokenSpec("volume_queries", 10),
]


def specs_within(start, stop):
    """Return the groups of some of the tokens, of size None where they have none."""
    found, first = [], 0
    for spec in SPECS:
        shared = min(first + spec.size, stop) - max(first, start)
        found.append(TokenSpec(spec.name, shared if shared > 0 else None))
        first += spec.size
    return found


def grouped_parts(x, bounds=(0, 3, 11, 11, 31)):
    return [
        {"x": x[:, start:stop], "token_specs": specs_within(start, stop)}
        for start, stop in itertools.pairwise(bounds)
    ]


@pytest.mark.parametrize("num_types", [None, 2])
@pytest.mark.parametrize("options", GROUPED.values(), ids=GROUPED)
def test_parts_of_groups_get_what_all_get_at_once(options, num_types):
    module, x = make(options, num_types=num_types, qk_norm=True).eval(), tokens()
    got = torch.cat(list(attend_in_parts(module, grouped_parts(x))), dim=1)
    wanted = module(x, SPECS)
    torch.testing.assert_close(results(module, x, got), results(module, x, wanted))


def test_what_anchors_contribute_is_kept_in_a_file(tmp_path):
    module, x = make(GROUPED["cross_anchor"], num_types=2).eval(), tokens()
    (summary,) = gather_in_parts(module, grouped_parts(x))
    assert list(summary.parts) == [
        "surface_anchors",
        "surface_queries",
        "volume_anchors",
        "volume_queries",
    ]
    assert summary.origin.domains == ("surface", "volume")
    summary.detach().save(tmp_path / "anchors")

    queries = [{"x": x[:, 21:], "token_specs": specs_within(21, 31)}]
    loaded = Summary.load(tmp_path / "anchors", module)
    (got,) = read_in_parts(module, queries, [loaded])
    torch.testing.assert_close(got, module(x, SPECS)[:, 21:])


def test_domains_that_were_counted_in_another_order_are_refused():
    module, x = make(GROUPED["mixed"], num_types=2).eval(), tokens(3)
    one = module.gather(x, [TokenSpec("surface", 3), TokenSpec("volume", None)])
    other = module.gather(x, [TokenSpec("volume", 3), TokenSpec("surface", None)])
    message = (
        r"gathered with domains \('surface', 'volume'\), and another one has \('volume', 'surf"
    )
    with pytest.raises(SummaryError, match=message):
        one.merge(other)


def test_a_summary_counts_domains_as_they_were_where_it_was_gathered():
    """The first domain contributes nothing, and stands last among the groups that are read."""
    module, x = make(GROUPED["mixed"], num_types=2).eval(), tokens(14)
    groups = [TokenSpec("surface", 5), TokenSpec("volume", 9)]
    to_volume = [AttentionPattern(["surface", "volume"], ["volume"])]
    summary = module.gather(x, groups, to_volume)
    assert list(summary.parts) == ["volume"]

    y = module(x, groups, to_volume)
    swapped = module.read(x.roll(-5, dims=1), summary, groups[::-1], to_volume)
    torch.testing.assert_close(swapped, y.roll(-5, dims=1))
    wake = [AttentionPattern(["surface", "volume", "wake"], ["volume"])]
    with pytest.raises(TokenGroupError, match="are 3: 'surface', 'volume', 'wake'"):
        module.read(x, summary, [groups[0], TokenSpec("wake", 9)], wake)


def test_patterns_name_groups_of_the_call_and_of_the_summary():
    module, x = make(GROUPED["mixed"]).eval(), tokens(14)
    groups = [TokenSpec("surface", 5), TokenSpec("volume", 9)]
    patterns = [
        AttentionPattern(["volume"], ["surface", "volume"]),
        AttentionPattern(["surface"], ["surface"]),
    ]
    summary = module.gather(x, groups)
    torch.testing.assert_close(
        module.read(x, summary, groups, patterns), module(x, groups, patterns)
    )

    message = (
        r"^token_specs: 'volume' is attended to, and was not gathered; the summary holds 'surface'$"
    )
    with pytest.raises(TokenGroupError, match=message):
        module.read(x, module.gather(x[:, :5], groups[:1]), groups, patterns)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_queries_in_parts_read_keys_and_values_that_came_in_parts(training):
    module = make({"type": "perceiver"}, dropout=0.3).train(training)
    q, kv = tokens(), tokens(19)
    masks = REAL[:, :19].split_with_sizes([7, 0, 12], dim=1)
    parts = [
        {"x": x, "key_padding_mask": mask}
        for x, mask in zip(kv.split_with_sizes([7, 0, 12], dim=1), masks, strict=True)
    ]
    torch.manual_seed(5)
    summaries = gather_in_parts(module, parts)
    whole = module.read(q, *summaries)
    got = torch.cat(list(read_in_parts(module, q.split(9, dim=1), summaries)), dim=1)
    torch.testing.assert_close(got, whole)
    if not training:
        torch.testing.assert_close(got, module(q, kv, key_padding_mask=REAL[:, :19]))
