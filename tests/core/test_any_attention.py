"""One call for every variant, built-in and strangers'."""

import copy
import pickle
import re
from typing import Annotated, Literal

import attrs
import pytest
import torch
from annotated_types import MinLen
from torch import nn
from torch._dynamo.testing import CompileCounter

from noether_core import (
    AnyAttention,
    AttentionConfig,
    AttentionPattern,
    AttentionVariant,
    ConfigError,
    ShapeError,
    TokenGroupError,
    TokenSpec,
    build,
    registry,
)
from noether_core.errors import UnsupportedArgumentError
from tests.sampling import ONE_OF_EACH_FORM, sampled

BATCH, TOKENS, HEADS, WIDTH, COORDINATES = 2, 11, 3, 7, 3
GROUPS = {"surface": 4, "volume": 7}

VARIANTS = {
    entry.name: registry().get(entry.qualified_name)
    for entry in registry().providers()
    if entry.provider.startswith("noether-attention ")
}
TYPES = sorted(VARIANTS)
every_type = pytest.mark.parametrize("type", TYPES)


def _with(capability):
    return [name for name in TYPES if capability in VARIANTS[name].capabilities]


def _without(capability):
    return [name for name in TYPES if capability not in VARIANTS[name].capabilities]


def _options(type, **options):
    example = dict(VARIANTS[type].example)
    if "branches" in example:
        example["branches"] = list(GROUPS)
    if "context_dim" in example:
        example["context_dim"] = None
    return {**example, "type": type, "hidden_dim": HEADS * WIDTH, "num_heads": HEADS, **options}


def _attention(type, *, anchors=0.25, coordinate_scale=1.0, dtype=torch.float64, **options):
    torch.manual_seed(0)
    options = {"init_weights": "torch", **options}
    attention = AnyAttention(
        _options(type, **options),
        input_dim=COORDINATES,
        anchors=anchors,
        coordinate_scale=coordinate_scale,
    )
    return attention.to(dtype).eval()


def _tokens(batch=BATCH, tokens=TOKENS, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, tokens, HEADS * WIDTH, generator=generator, dtype=dtype)
    return x, torch.rand(batch, tokens, COORDINATES, generator=generator, dtype=dtype)


def test_types_of_every_interface_are_built_in():
    assert {registry().get(name).interface for name in TYPES} == {"self", "cross", "tokens"}


@every_type
@pytest.mark.parametrize("groups", [None, GROUPS], ids=["one group", "groups"])
def test_every_type_takes_the_same_call(type, groups):
    attention = _attention(type)
    x, positions = _tokens()
    real = torch.ones(BATCH, TOKENS, dtype=torch.bool)
    y = attention(
        x, positions=positions, key_padding_mask=real, groups=groups, context=torch.randn(2, 5, 3)
    )
    assert y.shape == x.shape
    assert torch.allclose(y, attention(x, positions=positions, groups=groups))


@pytest.mark.parametrize("type", _with("context"))
def test_a_context_reaches_types_whose_config_says_how_wide_it_is(type):
    attention = _attention(type, context_dim=5)
    x, context = _tokens()[0], torch.randn(BATCH, 3, 5, dtype=torch.float64)
    y = attention(x, context=context)
    assert y.equal(attention.attention(x, context=context))
    assert not torch.allclose(y, attention(x))


@pytest.mark.parametrize("type", sorted(set(TYPES) - {"irregular_nat"}))
def test_positions_may_be_left_out_where_nothing_needs_them(type):
    attention = AnyAttention(_options(type)).eval()
    x, positions = _tokens(dtype=torch.float32)
    assert attention(x).equal(attention(x, positions=positions))


def _direct_call(module, x, positions, real, freqs=None):
    """Call a built module by its own interface, its groups and anchors written out."""
    variant = registry().record_of(module.config)
    turning = {} if freqs is None else {"freqs": freqs(positions)}
    if variant.interface == "cross":
        turning = {f"{side}_{name}": value for side in "qk" for name, value in turning.items()}
        return module(x, x, key_padding_mask=real, **turning)
    if variant.interface == "self":
        if "positions" in variant.capabilities:
            turning["positions"] = positions
        if "token_specs" in variant.capabilities:
            turning["token_specs"] = [TokenSpec(name, size) for name, size in GROUPS.items()]
        return module(x, key_padding_mask=real, **turning)
    if "branches" not in dir(module.config):
        specs = [TokenSpec(name, size) for name, size in GROUPS.items()]
        return module(x, specs, key_padding_mask=real, **turning)
    order = torch.tensor([0, 1, 2, 3, 4, 7, 5, 6, 8, 9, 10])
    specs = [TokenSpec("surface_anchors", 1), TokenSpec("surface_queries", 3)]
    specs += [TokenSpec("volume_anchors", 2), TokenSpec("volume_queries", 5)]
    turning = {name: value[:, order] for name, value in turning.items()}
    y = module(x[:, order], specs, key_padding_mask=real[:, order], **turning)
    return y[:, order.argsort()]


@every_type
def test_it_computes_what_the_module_computes_when_called_by_its_own_interface(type):
    attention = _attention(type)
    x, positions = _tokens()
    real = torch.ones(BATCH, TOKENS, dtype=torch.bool)
    expected = _direct_call(attention.attention, x, positions, real)
    got = attention(x, positions=positions, key_padding_mask=real, groups=GROUPS)
    assert torch.allclose(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("type", _with("rope"))
def test_positions_rotate_where_the_config_says_so(type):
    attention = _attention(type, use_rope=True, coordinate_scale=5.0)
    x, positions = _tokens()
    real = torch.ones(BATCH, TOKENS, dtype=torch.bool)
    expected = _direct_call(
        attention.attention, x, positions, real, lambda points: attention.rope(5.0 * points)
    )
    got = attention(x, positions=positions, key_padding_mask=real, groups=GROUPS)
    assert torch.allclose(got, expected, rtol=0, atol=1e-12)
    moved = attention(x, positions=positions.flip(1), key_padding_mask=real, groups=GROUPS)
    assert not torch.allclose(got, moved)
    with pytest.raises(ShapeError, match="positions: got None, and use_rope rotates by them"):
        attention(x)


@every_type
@pytest.mark.parametrize("groups", [None, GROUPS], ids=["one group", "groups"])
@pytest.mark.parametrize("anchors", [0.4, 3])
def test_padding_changes_nothing_for_real_tokens(type, groups, anchors):
    attention = _attention(type, anchors=anchors)
    x, positions = _tokens(batch=3)
    real = torch.ones(3, TOKENS, dtype=torch.bool)
    real[0, [2, 3, 10]] = False
    real[1, [1, 5, 6, 7, 8, 9]] = False
    y = attention(x, positions=positions, key_padding_mask=real, groups=groups)
    for sample in range(3):
        is_real = real[sample]
        counts = None
        if groups is not None:
            counts = {"surface": int(is_real[:4].sum()), "volume": int(is_real[4:].sum())}
        alone = attention(
            x[sample : sample + 1, is_real],
            positions=positions[sample : sample + 1, is_real],
            groups=counts,
        )
        assert torch.allclose(y[sample, is_real], alone[0], rtol=0, atol=1e-12)


@every_type
def test_a_sample_of_padding_alone_gives_numbers(type):
    attention = _attention(type)
    x, positions = _tokens()
    real = torch.tensor([[True] * TOKENS, [False] * TOKENS])
    assert attention(x, positions=positions, key_padding_mask=real).isfinite().all()


@every_type
def test_gradients_are_those_of_the_module(type):
    attention = _attention(type)
    x, positions = _tokens()
    x.requires_grad_()
    real = torch.ones(BATCH, TOKENS, dtype=torch.bool)
    weight = torch.randn(x.shape, dtype=x.dtype)
    leaves = [x, *attention.parameters()]
    got, expected = (
        torch.autograd.grad((y * weight).sum(), leaves, allow_unused=True)
        for y in (
            attention(x, positions=positions, key_padding_mask=real, groups=GROUPS),
            _direct_call(attention.attention, x, positions, real),
        )
    )
    for one, other in zip(got, expected, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("type", _with("attn_mask"))
def test_a_mask_over_pairs_is_handed_on_where_it_is_honoured(type):
    attention = _attention(type)
    x, _ = _tokens()
    nobody_but_itself = torch.eye(TOKENS, dtype=torch.bool)
    y = attention(x, attn_mask=nobody_but_itself)
    assert torch.allclose(y[:, :1], attention(x[:, :1]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("type", _without("attn_mask"))
def test_a_mask_over_pairs_that_cannot_be_honoured_is_refused_by_name(type):
    attention = _attention(type)
    x, positions = _tokens()
    with pytest.raises(UnsupportedArgumentError) as caught:
        attention(x, positions=positions, attn_mask=torch.ones(TOKENS, TOKENS, dtype=torch.bool))
    assert (caught.value.variant, caught.value.argument) == (type, "attn_mask")


@pytest.mark.parametrize("type", sampled(TYPES, *ONE_OF_EACH_FORM))
def test_it_is_compiled_whole(type):
    attention = _attention(type, dtype=torch.float32)
    torch._dynamo.reset()
    graphs = CompileCounter()
    compiled = torch.compile(attention, backend=graphs, fullgraph=True)
    for surface, volume in ((4, 7), (5, 8), (6, 12)):
        x, positions = _tokens(tokens=surface + volume, dtype=torch.float32)
        real = torch.ones(x.shape[:2], dtype=torch.bool)
        real[1, 2:4] = False
        given = {
            "positions": positions,
            "key_padding_mask": real,
            "groups": {"surface": surface, "volume": volume},
        }
        assert torch.allclose(compiled(x, **given), attention(x, **given), atol=1e-6)
    assert graphs.frame_count <= 2, "one for the first sizes, one for all others"


@every_type
def test_copies_and_pickles_compute_the_same(type):
    attention = _attention(type, dtype=torch.float32)
    x, positions = _tokens(dtype=torch.float32)
    y = attention(x, positions=positions)
    for other in (copy.deepcopy(attention), pickle.loads(pickle.dumps(attention))):  # noqa: S301
        assert other(x, positions=positions).equal(y)


@every_type
def test_its_state_is_that_of_the_attention_it_holds(type):
    attention = AnyAttention(_options(type))
    names = {f"attention.{name}" for name in build(_options(type)).state_dict()}
    assert set(attention.state_dict()) == names
    assert attention.config == attention.attention.config
    assert attention.variant == VARIANTS[type]


def test_rotation_adds_its_buffer_to_the_state():
    attention = AnyAttention(_options("dot_product", use_rope=True), input_dim=COORDINATES)
    assert "rope.omega" in attention.state_dict()


@every_type
def test_weights_start_anew_as_the_config_says(type):
    with torch.device("meta"):
        attention = AnyAttention(_options(type), input_dim=COORDINATES)
    attention.to_empty(device="cpu")
    torch.manual_seed(5)
    attention.reset_parameters()
    torch.manual_seed(5)
    expected = build(_options(type)).state_dict()
    for name, value in attention.attention.state_dict().items():
        assert value.equal(expected[name]), name


def test_rotation_starts_anew_too():
    options = _options("dot_product", use_rope=True)
    with torch.device("meta"):
        attention = AnyAttention(options, input_dim=COORDINATES)
    attention.to_empty(device="cpu")
    attention.reset_parameters()
    expected = AnyAttention(options, input_dim=COORDINATES).rope.omega
    assert attention.rope.omega.equal(expected)


def test_it_shows_what_it_was_made_with():
    attention = AnyAttention(_options("mixed"), input_dim=2, coordinate_scale=32.0, anchors=5)
    assert "'mixed', input_dim=2, coordinate_scale=32.0, anchors=5" in repr(attention)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"groups": {"surface": 4, "volume": 8}},
            "groups: they add up to 12 tokens, and there are 11",
        ),
        (
            {"groups": {"surface": 4, "volume": 7.0}},
            "groups: 'volume': expected a number of tokens",
        ),
        (
            {"groups": {"surface": -4, "volume": 15}},
            "groups: 'surface': expected a number of tokens",
        ),
        ({"groups": {"": 11}}, "groups: expected the name of a group, got ''"),
        ({"groups": [("surface", 11)]}, "groups: expected sizes by name"),
    ],
)
@pytest.mark.parametrize("type", ["dot_product", "joint_anchor"])
def test_groups_are_checked_whatever_the_type(type, given, message):
    with pytest.raises(TokenGroupError, match=re.escape(message)):
        _attention(type)(_tokens()[0], **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"positions": torch.zeros(2, 11, 2)}, "positions: got shape (2, 11, 2)"),
        ({"positions": torch.zeros(2, 11)}, "positions: got shape (2, 11)"),
        ({"positions": torch.zeros(2, 11, 3).long()}, "positions: got torch.int64"),
        ({"key_padding_mask": torch.ones(2, 3).bool()}, "key_padding_mask: got shape (2, 3)"),
    ],
)
@pytest.mark.parametrize("type", ["transolver", "perceiver", "mixed"])
def test_shapes_are_checked_whatever_the_type(type, given, message):
    with pytest.raises(ShapeError, match=re.escape(message)):
        _attention(type)(_tokens()[0], **given)
    with pytest.raises(ShapeError, match=re.escape("x: got shape (2, 11, 5)")):
        _attention(type)(torch.zeros(2, 11, 5), **given)


def test_groups_that_fit_no_branch_are_refused_by_name():
    attention, (x, _) = _attention("self_anchor", branches=["surface", "volume"]), _tokens()
    with pytest.raises(TokenGroupError, match="groups: 'wake' belongs to no branch of 'surface'"):
        attention(x, groups={"surface": 4, "wake": 7})
    with pytest.raises(TokenGroupError, match="branch 'volume' has no group; the groups are 'surf"):
        attention(x, groups={"surface": 11})


@pytest.mark.parametrize(
    ("options", "arguments", "path", "message"),
    [
        ({"use_rope": True}, {}, "input_dim", "nothing says how many coordinates"),
        ({"kv_dim": 5}, {}, "kv_dim", "5 is not hidden_dim 21"),
        ({}, {"anchors": 0}, "anchors", "a number of tokens (an int from 1 on), got 0"),
        ({}, {"anchors": 1.5}, "anchors", "got 1.5"),
        ({}, {"anchors": True}, "anchors", "got True"),
    ],
)
def test_arguments_that_contradict_the_config_are_refused(options, arguments, path, message):
    with pytest.raises(ConfigError) as caught:
        AnyAttention(_options("perceiver", **options), **arguments)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert message in problem.message


# Strangers' variants, with records of three fields


class Recorded(nn.Module):
    """Returns its first argument, and keeps them all."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.arguments = self.options = None

    def _record(self, *arguments, **options):
        self.arguments = arguments
        self.options = {name: value for name, value in options.items() if value is not None}
        return arguments[0]


@attrs.frozen(kw_only=True)
class PlainConfig(AttentionConfig):
    """Looks at nothing."""

    type: Literal["acme_plain"] = "acme_plain"


class Plain(Recorded):
    def forward(self, x):
        return self._record(x)


@attrs.frozen(kw_only=True)
class ContextConfig(AttentionConfig):
    """Looks at a context and at groups."""

    type: Literal["acme_context"] = "acme_context"


class Context(Recorded):
    def forward(self, x, *, key_padding_mask=None, freqs=None, token_specs=None, context=None):
        return self._record(
            x,
            key_padding_mask=key_padding_mask,
            freqs=freqs,
            token_specs=token_specs,
            context=context,
        )


@attrs.frozen(kw_only=True)
class WrappedConfig(AttentionConfig):
    """Of a variant whose signature says nothing."""

    type: Literal["acme_wrapped"] = "acme_wrapped"


class Wrapped(Recorded):
    def forward(self, *arguments, **options):
        return self._record(*arguments, **options)


@attrs.frozen(kw_only=True)
class CrossConfig(AttentionConfig):
    """Of the interface cross."""

    type: Literal["acme_cross"] = "acme_cross"


class Cross(Recorded):
    def forward(self, q, kv, *, q_freqs=None, k_freqs=None):
        return self._record(q, kv, q_freqs=q_freqs, k_freqs=k_freqs)


@attrs.frozen(kw_only=True)
class GroupsConfig(AttentionConfig):
    """Of the interface tokens, without branches and without patterns."""

    type: Literal["acme_groups"] = "acme_groups"


class Groups(Recorded):
    def forward(self, x, token_specs):
        return self._record(x, token_specs)


@attrs.frozen(kw_only=True)
class PatternsConfig(AttentionConfig):
    """Of the interface tokens, with patterns."""

    type: Literal["acme_patterns"] = "acme_patterns"


class Patterns(Recorded):
    def forward(self, x, token_specs, attention_patterns, *, key_padding_mask=None):
        return self._record(x, token_specs, attention_patterns, key_padding_mask=key_padding_mask)


@attrs.frozen(kw_only=True)
class SuffixConfig(AttentionConfig):
    """Of the interface tokens, with anchors in every group."""

    type: Literal["acme_suffix"] = "acme_suffix"

    anchor_suffix: str = ".seeds"


class Suffix(Recorded):
    def forward(self, x, token_specs, *, key_padding_mask=None, freqs=None):
        return self._record(x, token_specs, key_padding_mask=key_padding_mask, freqs=freqs)


@attrs.frozen(kw_only=True)
class BranchesConfig(AttentionConfig):
    """Of the interface tokens, with branches."""

    type: Literal["acme_branches"] = "acme_branches"

    branches: Annotated[tuple[str, ...], MinLen(1)] = ("surface", "volume")


class Branches(Suffix):
    pass


STRANGERS = {
    PlainConfig: ("self", "Plain"),
    ContextConfig: ("self", "Context"),
    WrappedConfig: ("self", "Wrapped"),
    CrossConfig: ("cross", "Cross"),
    GroupsConfig: ("tokens", "Groups"),
    PatternsConfig: ("tokens", "Patterns"),
    SuffixConfig: ("tokens", "Suffix"),
    BranchesConfig: ("tokens", "Branches"),
}


@pytest.fixture(scope="module")
def _strangers():
    for config, (interface, module) in STRANGERS.items():
        registry().register(
            AttentionVariant(
                config=config,
                module=f"{__name__}:{module}",
                interface=interface,
                capabilities=("key_padding_mask", "rope") if module == "Wrapped" else (),
            )
        )


def _stranger(config, *, anchors=0.25, **options):
    return AnyAttention(config(hidden_dim=6, num_heads=1, **options), input_dim=2, anchors=anchors)


def _called(attention, **given):
    """Call with all that informs; return the tokens, the recorded call and the result."""
    x, positions = torch.randn(2, 11, 6), torch.rand(2, 11, 2)
    y = attention(x, positions=positions, context=torch.randn(2, 3, 5), **given)
    recorded = attention.attention
    return x, recorded.arguments, recorded.options, y


pytestmark = pytest.mark.usefixtures("_strangers")


def test_a_variant_that_looks_at_nothing_gets_nothing():
    x, arguments, options, _ = _called(_stranger(PlainConfig), groups=GROUPS)
    assert arguments[0] is x
    assert options == {}
    with pytest.raises(UnsupportedArgumentError, match=r"acme_plain.*'key_padding_mask'"):
        _called(_stranger(PlainConfig), key_padding_mask=torch.ones(2, 11, dtype=torch.bool))
    with pytest.raises(UnsupportedArgumentError, match=r"acme_plain.*'freqs': use_rope is true"):
        _stranger(PlainConfig, use_rope=True)


def test_a_variant_gets_what_its_forward_declares():
    real = torch.ones(2, 11, dtype=torch.bool)
    attention = _stranger(ContextConfig, use_rope=True)
    _, _, options, _ = _called(attention, groups=GROUPS, key_padding_mask=real)
    assert set(options) == {"key_padding_mask", "freqs", "token_specs", "context"}
    assert options["key_padding_mask"] is real
    assert options["freqs"].shape == (2, 11, 3)
    assert options["token_specs"] == [TokenSpec("surface", 4), TokenSpec("volume", 7)]
    assert "token_specs" not in _called(attention)[2]


def test_a_variant_whose_signature_says_nothing_gets_what_its_record_says():
    real = torch.ones(2, 11, dtype=torch.bool)
    attention = _stranger(WrappedConfig, use_rope=True)
    _, _, options, _ = _called(attention, groups=GROUPS, key_padding_mask=real)
    assert set(options) == {"key_padding_mask", "freqs"}
    with pytest.raises(UnsupportedArgumentError, match="'attn_mask'"):
        _called(attention, attn_mask=torch.ones(11, 11, dtype=torch.bool))


def test_the_interface_cross_gets_the_tokens_as_queries_and_as_keys():
    x, arguments, options, _ = _called(_stranger(CrossConfig, use_rope=True))
    assert [argument is x for argument in arguments] == [True, True]
    assert options["q_freqs"] is options["k_freqs"]


def test_the_interface_tokens_gets_the_groups_of_the_call_or_one():
    x, (tokens, specs), _, _ = _called(_stranger(GroupsConfig), groups=GROUPS)
    assert tokens is x
    assert specs == [TokenSpec("surface", 4), TokenSpec("volume", 7)]
    assert _called(_stranger(GroupsConfig))[1][1] == [TokenSpec("tokens", 11)]


def test_patterns_let_every_group_attend_to_every_group():
    _, (_, _, patterns), _, _ = _called(_stranger(PatternsConfig), groups=GROUPS)
    names = ("surface", "volume")
    assert list(patterns) == [AttentionPattern(query_tokens=names, key_value_tokens=names)]


def _sizes(specs):
    return {spec.name: spec.size for spec in specs}


def test_every_group_has_anchors_where_the_config_names_their_suffix_alone():
    x, (tokens, specs), _, y = _called(_stranger(SuffixConfig), groups=GROUPS)
    assert _sizes(specs) == {
        "surface.seeds": 1,
        "surface_queries": 3,
        "volume.seeds": 2,
        "volume_queries": 5,
    }
    assert tokens.equal(x[:, [0, 1, 2, 3, 4, 7, 5, 6, 8, 9, 10]])
    assert y.equal(x)


def test_branches_have_the_groups_that_are_named_for_them():
    attention = _stranger(BranchesConfig, branches=("vol", "vol_far"), anchors=2)
    groups = {"vol_far": 3, "vol_left": 2, "vol_far_out": 2, "vol": 4}
    x, (tokens, specs), _, y = _called(attention, groups=groups)
    assert _sizes(specs) == {
        "vol_anchors": 2,
        "vol_queries": 4,
        "vol_far_anchors": 2,
        "vol_far_queries": 3,
    }
    assert tokens.equal(x[:, [3, 8, 4, 7, 9, 10, 0, 2, 1, 5, 6]])
    assert y.equal(x)


def test_anchors_that_the_caller_chose_stay():
    groups = {"surface": 2, "surface_anchors": 3, "volume": 6}
    x, (tokens, specs), _, y = _called(_stranger(BranchesConfig, anchors=2), groups=groups)
    assert _sizes(specs)["surface_anchors"] == 3
    assert tokens[:, :5].equal(x[:, [2, 3, 4, 0, 1]])
    assert y.equal(x)


def test_without_groups_branches_are_dealt_tokens_in_turn():
    x, (tokens, specs), _, y = _called(_stranger(BranchesConfig, anchors=2))
    assert list(_sizes(specs).values()) == [2, 4, 2, 3]
    assert tokens.equal(x[:, [0, 6, 2, 4, 8, 10, 1, 5, 3, 7, 9]])
    assert y.equal(x)


def test_anchors_are_real_tokens_of_each_sample():
    real = torch.ones(2, 11, dtype=torch.bool)
    real[1, [0, 2, 3, 5, 6, 7, 8, 9]] = False
    attention = _stranger(
        BranchesConfig, branches=("surface", "volume"), anchors=0.5, use_rope=True
    )
    x, (tokens, specs), options, y = _called(attention, groups=GROUPS, key_padding_mask=real)
    assert list(_sizes(specs).values()) == [2, 2, 4, 3]
    mask = options["key_padding_mask"]
    assert mask[0].all()
    assert mask[1].tolist() == [True] + 3 * [False] + [True] + 5 * [False] + [True]
    assert tokens[1, [0, 4, 10]].equal(x[1, [1, 4, 10]])
    assert y.equal(x)


def test_other_names_are_found_where_anchors_or_branches_are_called_queries():
    attention = _stranger(SuffixConfig, anchor_suffix="_queries")
    _, (_, specs), _, _ = _called(attention, groups=GROUPS)
    assert list(_sizes(specs)) == ["surface_queries", "surface", "volume_queries", "volume"]

    groups = {"vol": 5, "vol_queries": 6}
    expected = ["vol.seeds", "vol", "vol_queries.seeds", "vol_queries_queries"]
    _, (_, specs), _, _ = _called(_stranger(SuffixConfig), groups=groups)
    assert list(_sizes(specs)) == expected


@pytest.mark.parametrize("anchors", [1.0, 100])
def test_all_tokens_may_be_anchors(anchors):
    x, (tokens, specs), _, _ = _called(_stranger(BranchesConfig, anchors=anchors), groups=GROUPS)
    assert list(_sizes(specs).values()) == [4, 0, 7, 0]
    assert tokens.equal(x)


def test_a_fraction_means_the_decimal_that_was_written():
    attention = _stranger(SuffixConfig, anchors=0.1)
    x = torch.randn(1, 30, 6)
    attention(x)
    assert attention.attention.arguments[1][0] == TokenSpec("tokens.seeds", 3)


@pytest.mark.parametrize("type", _with("key_padding_mask"))
def test_nan_in_padding_reaches_no_token_and_no_gradient(type):
    turning = {"use_rope": True} if "rope" in VARIANTS[type].capabilities else {}
    attention = _attention(type, **turning)
    real = torch.arange(TOKENS) < torch.tensor([[TOKENS], [7]])

    def outcome(number):
        x, positions = _tokens()
        x[~real], positions[~real] = number, number
        x.requires_grad_()
        y = attention(x, positions=positions, key_padding_mask=real)[real]
        sources = [x, *attention.parameters()]
        return y, *torch.autograd.grad(y.square().sum(), sources, allow_unused=True)

    for got, wanted in zip(outcome(float("nan")), outcome(0.0), strict=True):
        assert got is None or got.equal(wanted)
