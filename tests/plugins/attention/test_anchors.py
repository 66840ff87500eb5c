"""The anchor family against its formula: which groups attend to which, written by hand for each."""

import math
import re

import attrs
import pytest
import torch

from noether_core import (
    AttentionConfig,
    AttentionPattern,
    ConfigError,
    ShapeError,
    TokenGroupError,
    TokenSpec,
    UnknownTypeError,
    build,
    registry,
    structure,
)
from noether_core.errors import UnsupportedArgumentError
from noether_core.nn import RMSNorm, RopeFrequency
from noether_plugins.attention.anchor.config import (
    CrossAnchorAttentionConfig,
    JointAnchorAttentionConfig,
    MultiBranchAnchorAttentionConfig,
    SelfAnchorAttentionConfig,
)
from noether_plugins.attention.anchor.module import (
    CrossAnchorAttention,
    JointAnchorAttention,
    MissingAnchorTokenError,
    MissingBranchTokensError,
    SelfAnchorAttention,
    UnexpectedTokenError,
)
from noether_plugins.attention.mixed import module as mixed_module
from noether_plugins.attention.mixed.config import MixedAttentionConfig
from noether_plugins.attention.mixed.module import MixedAttention
from tests.plugins.attention.formulas import linear

BATCH, HEADS, WIDTH = 2, 3, 5
HIDDEN = HEADS * WIDTH

FAMILY = {
    "self_anchor": (SelfAnchorAttention, SelfAnchorAttentionConfig),
    "cross_anchor": (CrossAnchorAttention, CrossAnchorAttentionConfig),
    "joint_anchor": (JointAnchorAttention, JointAnchorAttentionConfig),
}
every_variant = pytest.mark.parametrize("variant", FAMILY)


@attrs.frozen
class Case:
    """Groups of a call, and for each of them its size and the groups that it attends to."""

    branches: str
    groups: dict[str, tuple[int, str]]
    suffix: str = "_anchors"

    @property
    def specs(self):
        return [TokenSpec(name, size) for name, (size, _) in self.groups.items()]

    @property
    def keys(self):
        return {name: tuple(keys.split()) for name, (_, keys) in self.groups.items()}

    def make(self, variant, **options):
        return make(variant, self.branches, anchor_suffix=self.suffix, **options)

    def tokens(self):
        count = sum(size for size, _ in self.groups.values())
        return torch.randn(BATCH, count, HIDDEN, dtype=torch.float64, requires_grad=True)


def make(variant, branches="surface volume", **options):
    options = {"hidden_dim": HIDDEN, "num_heads": HEADS, "init_weights": "torch", **options}
    return build(variant, branches=branches.split(), **options).double()


CASES = {
    "self, 1 branch": Case(
        "surface",
        {
            "surface_queries": (7, "surface_anchors"),
            "surface_anchors": (3, "surface_anchors"),
            "surface_probes": (11, "surface_anchors"),
        },
    ),
    "self, 2 branches": Case(
        "surface volume",
        {
            "volume_queries": (7, "volume_anchors"),
            "surface_anchors": (3, "surface_anchors"),
            "surface_queries": (11, "surface_anchors"),
            "volume_anchors": (5, "volume_anchors"),
        },
    ),
    "self, 3 branches": Case(
        "surface volume wake",
        {
            "surface_anchors": (3, "surface_anchors"),
            "wake_anchors": (2, "wake_anchors"),
            "volume_anchors": (5, "volume_anchors"),
            "wake_queries": (7, "wake_anchors"),
        },
    ),
    "cross, 2 branches": Case(
        "surface volume",
        {
            "surface_queries": (7, "volume_anchors"),
            "volume_anchors": (5, "surface_anchors"),
            "surface_anchors": (3, "volume_anchors"),
            "volume_queries": (11, "surface_anchors"),
        },
    ),
    "cross, 3 branches": Case(
        "surface volume wake",
        {
            "wake_queries": (7, "surface_anchors volume_anchors"),
            "surface_anchors": (3, "volume_anchors wake_anchors"),
            "wake_anchors": (2, "surface_anchors volume_anchors"),
            "surface_queries": (11, "volume_anchors wake_anchors"),
            "volume_anchors": (5, "surface_anchors wake_anchors"),
        },
    ),
    "joint, 2 branches": Case(
        "volume surface",
        {
            "surface_queries": (7, "volume_anchors surface_anchors"),
            "volume_anchors": (5, "volume_anchors surface_anchors"),
            "surface_anchors": (3, "volume_anchors surface_anchors"),
        },
    ),
    "joint, 3 branches": Case(
        "surface volume wake",
        {
            "surface_anchors": (3, "surface_anchors volume_anchors wake_anchors"),
            "volume_queries": (7, "surface_anchors volume_anchors wake_anchors"),
            "wake_anchors": (2, "surface_anchors volume_anchors wake_anchors"),
            "volume_anchors": (5, "surface_anchors volume_anchors wake_anchors"),
        },
    ),
    "self, a branch that starts another": Case(
        "vol volume",
        {
            "volume_queries": (7, "volume_anchors"),
            "vol_anchors": (3, "vol_anchors"),
            "volume_anchors": (5, "volume_anchors"),
            "vol_queries": (11, "vol_anchors"),
        },
    ),
    "self, a branch that starts another before an underscore": Case(
        "a a_b",
        {
            "a_b_queries": (7, "a_b_anchors"),
            "a_c": (11, "a_anchors"),
            "a_anchors": (3, "a_anchors"),
            "a_b_anchors": (5, "a_b_anchors"),
            "a_b": (2, "a_b_anchors"),
            "a": (13, "a_anchors"),
        },
    ),
    "cross, the longer branch first": Case(
        "a_b a",
        {
            "a_anchors": (3, "a_b_anchors"),
            "a_b_queries": (7, "a_anchors"),
            "a_b_anchors": (5, "a_anchors"),
        },
    ),
    "self, a suffix of its own": Case(
        "surface volume",
        {
            "surface_ctx": (3, "surface_ctx"),
            "volume_anchors": (7, "volume_ctx"),
            "volume_ctx": (5, "volume_ctx"),
            "surface_anchors": (11, "surface_ctx"),
        },
        suffix="_ctx",
    ),
    "cross, a suffix without underscore": Case(
        "vol volume",
        {
            "volume-anchor": (5, "vol-anchor"),
            "vol_queries": (7, "volume-anchor"),
            "vol-anchor": (3, "volume-anchor"),
            "volume_queries": (11, "vol-anchor"),
        },
        suffix="-anchor",
    ),
    "self, a suffix without underscore behind a branch that starts another": Case(
        "a a_b",
        {
            "a_b-anchor": (5, "a_b-anchor"),
            "a-anchor": (3, "a-anchor"),
            "a_queries": (7, "a-anchor"),
            "a_b_queries": (11, "a_b-anchor"),
        },
        suffix="-anchor",
    ),
    "self, no suffix": Case(
        "surface volume",
        {
            "surface": (3, "surface"),
            "volume_queries": (7, "volume"),
            "volume": (5, "volume"),
            "surface_anchors": (11, "surface"),
        },
        suffix="",
    ),
    "joint, anchors without tokens": Case(
        "surface volume",
        {
            "surface_anchors": (0, "surface_anchors volume_anchors"),
            "volume_anchors": (5, "surface_anchors volume_anchors"),
            "surface_queries": (7, "surface_anchors volume_anchors"),
        },
    ),
}
every_case = pytest.mark.parametrize(
    ("variant", "case"),
    [(f"{name.partition(',')[0]}_anchor", case) for name, case in CASES.items()],
    ids=CASES,
)


def formula(state, x, case):
    """Attend over all tokens at once, with minus infinity where a token's group does not attend to
    another's.
    """
    groups = [name for name, (size, _) in case.groups.items() for _ in range(size)]
    may_attend = torch.tensor([[key in case.keys[query] for key in groups] for query in groups])
    q, k, v = (
        linear(state, f"mixed_attention.{name}", x).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
        for name in "qkv"
    )
    logits = torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(WIDTH)
    weights = logits.masked_fill(~may_attend, -math.inf).softmax(-1)
    return linear(
        state, "mixed_attention.proj", torch.einsum("bhij,bhjd->bihd", weights, v).flatten(-2)
    )


@every_case
def test_it_is_its_formula(variant, case):
    module, x = case.make(variant), case.tokens()
    inputs, cotangent = [x, *module.parameters()], torch.randn_like(x)

    got, wanted = module(x, case.specs), formula(dict(module.named_parameters()), x, case)

    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)
    for gradient, gradient_wanted in zip(
        torch.autograd.grad(got, inputs, cotangent),
        torch.autograd.grad(wanted, inputs, cotangent),
        strict=True,
    ):
        torch.testing.assert_close(gradient, gradient_wanted, rtol=0, atol=1e-11)


@every_case
def test_it_is_mixed_attention_with_patterns_written_by_hand(variant, case):
    options = {
        "hidden_dim": HIDDEN,
        "num_heads": HEADS,
        "init_weights": "torch",
        "qk_norm": True,
        "use_rope": True,
    }
    module, x = case.make(variant, **options), case.tokens()
    mixed = MixedAttention(MixedAttentionConfig(**options)).double()
    mixed.load_state_dict(module.mixed_attention.state_dict())
    arguments = {
        "freqs": RopeFrequency(WIDTH, 2)(torch.randn(BATCH, x.shape[1], 2)),
        "key_padding_mask": torch.rand(BATCH, x.shape[1]) < 0.7,
    }

    by_hand = mixed(
        x,
        case.specs,
        [AttentionPattern((name,), keys) for name, keys in case.keys.items()],
        **arguments,
    )

    torch.testing.assert_close(module(x, case.specs, **arguments), by_hand, rtol=0, atol=1e-12)


def test_a_module_takes_other_groups_with_every_call():
    first, second = CASES["joint, 2 branches"], CASES["joint, anchors without tokens"]
    module = first.make("joint_anchor")
    for case in (first, second, first):
        x = case.tokens()
        wanted = formula(dict(module.named_parameters()), x, case)
        torch.testing.assert_close(module(x, case.specs), wanted, rtol=0, atol=1e-12)


def test_groups_with_the_same_keys_attend_together_and_meet_no_other_key(monkeypatch):
    attend, met = mixed_module.attend, []

    def watch(queries, keys, values, **arguments):
        met.append((queries.shape[2], keys.shape[2]))
        return attend(queries, keys, values, **arguments)

    monkeypatch.setattr(mixed_module, "attend", watch)
    for name in ("self, 2 branches", "cross, 2 branches", "joint, 2 branches"):
        CASES[name].make(f"{name.partition(',')[0]}_anchor")(
            CASES[name].tokens(), CASES[name].specs
        )
    assert sorted(met) == sorted([(14, 3), (12, 5), (10, 5), (16, 3), (15, 8)])


REFUSALS = {
    "a group of no branch": (
        UnexpectedTokenError,
        {"surface_anchors": 3, "volume_anchors": 5, "wake_queries": 7},
        (
            "token_specs: 'wake_queries' belongs to no branch of 'surface', 'volume'; "
            "name it for one, such as 'surface_queries'"
        ),
    ),
    "a group that continues the name of a branch without an underscore": (
        UnexpectedTokenError,
        {"surface_anchors": 3, "volume_anchors": 5, "surfaces_queries": 7},
        (
            "token_specs: 'surfaces_queries' belongs to no branch of 'surface', 'volume'; "
            "name it for one, such as 'surface_queries'"
        ),
    ),
    "a branch without groups": (
        MissingBranchTokensError,
        {"surface_anchors": 3, "surface_queries": 7},
        (
            "token_specs: branch 'volume' has no group of tokens; "
            "the groups are 'surface_anchors', 'surface_queries'"
        ),
    ),
    "a branch without anchors": (
        MissingAnchorTokenError,
        {"surface_anchors": 3, "volume_queries": 7, "volume_probes": 5},
        (
            "token_specs: branch 'volume' has no anchors 'volume_anchors'; "
            "its groups are 'volume_queries', 'volume_probes'"
        ),
    ),
}


@every_variant
@pytest.mark.parametrize(("error", "sizes", "message"), REFUSALS.values(), ids=REFUSALS)
def test_groups_that_do_not_fit_the_branches_are_refused_by_name(variant, error, sizes, message):
    x = torch.zeros(BATCH, sum(sizes.values()), HIDDEN).double()
    with pytest.raises(error, match=f"^{re.escape(message)}$") as caught:
        make(variant)(x, [TokenSpec(name, size) for name, size in sizes.items()])
    assert isinstance(caught.value, TokenGroupError)
    assert isinstance(caught.value, ValueError)


def test_no_groups_at_all_are_reported_as_none():
    with pytest.raises(
        MissingBranchTokensError, match=r"'surface' has no group of tokens; the groups are none$"
    ):
        make("self_anchor")(torch.zeros(BATCH, 0, HIDDEN).double(), [])


def test_a_missing_anchor_is_reported_with_the_suffix_of_the_config():
    with pytest.raises(
        MissingAnchorTokenError, match="branch 'surface' has no anchors 'surface-ctx'"
    ):
        make("self_anchor", "surface", anchor_suffix="-ctx")(
            torch.zeros(BATCH, 3, HIDDEN).double(), [TokenSpec("surface_anchors", 3)]
        )


@every_variant
@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (
            [TokenSpec("surface_anchors", 3), TokenSpec("volume_anchors", 7)],
            (
                "token_specs: Token specs total size 10 is not the number of tokens 8; "
                "the groups are surface_anchors 3, volume_anchors 7"
            ),
        ),
        (
            [
                TokenSpec("surface_anchors", 3),
                TokenSpec("volume_anchors", 3),
                TokenSpec("volume_anchors", 2),
            ],
            "token_specs: 'volume_anchors' names two groups; give each a name of its own",
        ),
        (
            [TokenSpec("surface_anchors", 3), ("volume_anchors", 5)],
            "token_specs: expected a list of TokenSpec, got ('volume_anchors', 5) in it",
        ),
    ],
    ids=["sizes", "names", "no specs"],
)
def test_groups_that_do_not_describe_the_tokens_are_refused(variant, specs, message):
    with pytest.raises(TokenGroupError, match=f"^{re.escape(message)}$"):
        make(variant)(torch.zeros(BATCH, 8, HIDDEN).double(), specs)


SPECS = [TokenSpec("surface_anchors", 3), TokenSpec("volume_anchors", 5)]
X = torch.zeros(BATCH, 8, HIDDEN, dtype=torch.float64)


@every_variant
def test_there_are_no_patterns_because_the_branches_say_which_groups_attend_to_which(variant):
    patterns = [AttentionPattern(("surface_anchors", "volume_anchors"), ("surface_anchors",))]
    with pytest.raises(TypeError, match="unexpected keyword argument 'attention_patterns'"):
        make(variant)(X, SPECS, attention_patterns=patterns)


@every_variant
def test_rotary_frequencies_are_given_exactly_if_the_config_says_so(variant):
    freqs = RopeFrequency(WIDTH, 2)(torch.zeros(BATCH, 8, 2))
    with pytest.raises(ShapeError, match="RoPE usage mismatch: use_rope is true"):
        make(variant, use_rope=True)(X, SPECS)
    with pytest.raises(
        UnsupportedArgumentError, match="RoPE usage mismatch: use_rope is false"
    ) as caught:
        make(variant)(X, SPECS, freqs=freqs)
    assert (caught.value.variant, caught.value.argument) == (variant, "freqs")


@every_variant
@pytest.mark.parametrize(
    "mask", [torch.ones(1, 8).bool(), torch.ones(BATCH, 7).bool(), torch.ones(BATCH, 8)]
)
def test_padding_masks_of_another_shape_or_kind_are_refused(variant, mask):
    with pytest.raises(ShapeError, match=r"^key_padding_mask: got"):
        make(variant)(X, SPECS, key_padding_mask=mask)


@every_variant
def test_every_shared_option_reaches_the_attention_that_runs_the_patterns(variant):
    options = {
        "dropout": 0.25,
        "qk_norm": True,
        "init_weights": "xavier",
        "bias": False,
        "use_rope": True,
    }
    options["backend"] = "sdpa"
    module = make(variant, **options)
    assert module.mixed_attention.config == MixedAttentionConfig(
        hidden_dim=HIDDEN, num_heads=HEADS, **options
    )
    assert module.mixed_attention.dropout == 0.25
    assert isinstance(module.mixed_attention.k_norm, RMSNorm)
    assert module.mixed_attention.q.bias is None
    assert not make(variant, init_weights="zeros").mixed_attention.q.weight.any()


@every_variant
def test_dropout_falls_on_the_output_too(variant):
    module, x = make(variant, dropout=0.5), torch.randn_like(X)
    with torch.no_grad():
        module.mixed_attention.proj.weight.zero_()
        module.mixed_attention.proj.bias.fill_(1.0)
        assert set(module(x, SPECS).unique().tolist()) == {0.0, 2.0}
        assert (module.eval()(x, SPECS) == 1).all()


@every_variant
def test_parameters_are_those_of_mixed_attention_behind_a_prefix(variant):
    mixed = MixedAttention(
        MixedAttentionConfig(hidden_dim=HIDDEN, num_heads=HEADS, qk_norm=True)
    ).state_dict()
    state = make(variant, qk_norm=True).state_dict()
    assert list(state) == [f"mixed_attention.{name}" for name in mixed]
    assert "mixed_attention.q_norm.weight" in state


@pytest.mark.parametrize("bias", [True, False])
@every_variant
def test_weights_of_the_fused_layout_give_the_same_numbers(variant, bias):
    module, twin, x = make(variant, bias=bias), make(variant, bias=bias), torch.randn_like(X)
    state = module.state_dict()
    for leaf in ["weight", "bias"] if bias else ["weight"]:
        parts = [state.pop(f"mixed_attention.{part}.{leaf}") for part in "qkv"]
        state[f"mixed_attention.qkv.{leaf}"] = torch.cat(parts)
    assert not torch.equal(twin(x, SPECS), module(x, SPECS))

    twin.load_state_dict(state)

    assert torch.equal(twin(x, SPECS), module(x, SPECS))


WIDTHS = {"hidden_dim": HIDDEN, "num_heads": HEADS}


@every_variant
def test_a_generic_config_builds_it(variant):
    module_class, config_class = FAMILY[variant]
    concrete = config_class(branches=["surface", "volume"], **WIDTHS)
    generic = AttentionConfig(type=variant, branches=["surface", "volume"], **WIDTHS)
    assert module_class(generic).config == concrete
    assert module_class(concrete).config is concrete
    assert build(generic).config == concrete
    assert concrete.anchor_suffix == "_anchors"


@pytest.mark.parametrize("form", ["concrete", "generic"])
@pytest.mark.parametrize(
    ("variant", "other"),
    [(one, other) for one in FAMILY for other in [*FAMILY, "mixed"] if one != other],
)
def test_a_config_of_another_variant_is_refused(variant, other, form):
    options = WIDTHS if other == "mixed" else {**WIDTHS, "branches": ["surface", "volume"]}
    config = AttentionConfig(type=other, **options)
    with pytest.raises(ConfigError, match=f"type: expected '{variant}', got '{other}'"):
        FAMILY[variant][0](config if form == "generic" else structure(config))


def test_their_common_config_is_no_variant():
    for _, config_class in FAMILY.values():
        assert issubclass(config_class, MultiBranchAnchorAttentionConfig)
    assert all(
        registry().get(name).config is not MultiBranchAnchorAttentionConfig
        for name in registry().types()
    )
    with pytest.raises(TypeError, match="type"):
        MultiBranchAnchorAttentionConfig(branches=["surface"], **WIDTHS)
    with pytest.raises(UnknownTypeError):
        structure({"type": "multi_branch_anchor", "branches": ["surface"], **WIDTHS})


SOME, TWO = "a list that is not empty without repeats", "a list of length 2 or more without repeats"
FEWEST = {"self_anchor": SOME, "cross_anchor": TWO, "joint_anchor": TWO}


@every_variant
@pytest.mark.parametrize("branches", [[], "surface", None, {"surface": "volume"}, 3], ids=str)
def test_branches_are_a_list(variant, branches):
    with pytest.raises(
        ConfigError,
        match=f"^branches: expected {FEWEST[variant]}, each text that is not empty, got",
    ):
        FAMILY[variant][1](branches=branches, **WIDTHS)


@every_variant
def test_branches_cannot_be_left_out(variant):
    with pytest.raises(TypeError, match="branches"):
        FAMILY[variant][1](**WIDTHS)
    with pytest.raises(
        ConfigError, match=f"^branches: missing: {FEWEST[variant]}, each text that is not empty"
    ):
        structure({"type": variant, **WIDTHS})


def test_only_a_branch_that_attends_to_itself_can_stand_alone():
    assert SelfAnchorAttentionConfig(branches=["surface"], **WIDTHS).branches == ("surface",)
    for config_class in (CrossAnchorAttentionConfig, JointAnchorAttentionConfig):
        with pytest.raises(ConfigError, match=rf"^branches: expected {TWO}, .* got \['surface'\]$"):
            config_class(branches=["surface"], **WIDTHS)


@every_variant
@pytest.mark.parametrize(
    ("branches", "message", "path"),
    [
        (
            ["surface", "volume", "surface"],
            "branches[2]: repeats 'surface', which stands at [0] already; leave one of them out",
            "branches[2]",
        ),
        (["surface", ""], "branches[1]: expected text that is not empty, got ''", "branches[1]"),
        (["surface", 7], "branches[1]: expected text that is not empty, got 7", "branches[1]"),
    ],
)
def test_every_branch_has_a_name_of_its_own(variant, branches, message, path):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$") as caught:
        FAMILY[variant][1](branches=branches, **WIDTHS)
    assert [problem.path for problem in caught.value.problems] == [path]
