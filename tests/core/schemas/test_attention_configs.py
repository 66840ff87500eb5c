"""What every attention config does: open and concrete ones, groups of tokens and patterns."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import subprocess
import sys
from typing import Annotated, Literal

import attrs
import pytest
from annotated_types import Ge
from hypothesis import given
from hypothesis import strategies as st

from noether_core import (
    AttentionConfig,
    AttentionPattern,
    ConfigError,
    TokenSpec,
    structure,
    unstructure,
)
from noether_core.schemas import FrozenMapping
from tests.core.generated import EXAMPLES as SMALLEST
from tests.core.generated import INSTALLED, configs_of, options_of
from tests.sampling import ONE_OF_EACH_FORM, sampled

SIZES = {"hidden_dim": 15, "num_heads": 3}


@attrs.frozen(kw_only=True)
class WindowConfig(AttentionConfig):
    """Options of a variant that only these tests know."""

    type: Literal["window"] = "window"

    window: Annotated[int, Ge(1)] = 256

    names: tuple[str, ...] = ()


GENERIC = AttentionConfig(type="transolver", **SIZES, num_slices=7, mode={"a": [1, 2]})
CONCRETE = WindowConfig(**SIZES, window=7, names=["a"])
EXAMPLES = [
    GENERIC,
    CONCRETE,
    TokenSpec("surface_anchors", 7),
    TokenSpec(name="surface", size=None),
    AttentionPattern(["a", "b"], key_value_tokens=("a",)),
    *SMALLEST.values(),
]


def named(value: object) -> str:
    return type(value).__name__


def problem_of(make, *arguments, **options):
    with pytest.raises(ConfigError) as caught:
        make(*arguments, **options)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize("config", EXAMPLES, ids=named)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_config_survives_pickling(config, protocol):
    again = pickle.loads(pickle.dumps(config, protocol))  # noqa: S301
    assert again == config
    assert type(again) is type(config)
    assert hash(again) == hash(config)
    assert repr(again) == repr(config)


@pytest.mark.parametrize("config", EXAMPLES, ids=named)
def test_a_config_survives_copying_and_evolving_without_change(config):
    for again in (copy.copy(config), copy.deepcopy(config), attrs.evolve(config)):
        assert again == config
        assert type(again) is type(config)
        assert hash(again) == hash(config)


@pytest.mark.parametrize("config", EXAMPLES, ids=named)
def test_a_config_cannot_be_changed(config):
    field = attrs.fields(type(config))[0].name
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(config, field, getattr(config, field))
    with pytest.raises(AttributeError):
        config.something_else = 1


@pytest.mark.parametrize("config", EXAMPLES, ids=named)
def test_a_config_is_read_back_from_its_own_text(config):
    names = globals() | {cls.__name__: cls for cls in INSTALLED.values()}
    assert eval(repr(config), names) == config  # noqa: S307


def test_no_two_of_the_examples_are_equal():
    assert len(set(EXAMPLES)) == len(EXAMPLES)


def test_the_open_schema_keeps_options_that_it_does_not_know():
    assert GENERIC.extra == FrozenMapping({"num_slices": 7, "mode": {"a": [1, 2]}})
    assert not hasattr(GENERIC, "num_slices")


def test_options_given_by_name_go_before_those_among_the_extra_ones():
    given_twice = AttentionConfig(type="any", **SIZES, extra={"a": 1, "b": 2}, b=3)
    assert given_twice.extra == FrozenMapping({"a": 1, "b": 3})
    assert given_twice == AttentionConfig(type="any", **SIZES, b=3, a=1)


def test_configs_that_differ_only_in_what_they_keep_differ():
    other = AttentionConfig(type="transolver", **SIZES, num_slices=8, mode={"a": [1, 2]})
    assert other != GENERIC
    assert other.fingerprint() != GENERIC.fingerprint()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_heads": 5}, {"num_heads": 5}),
        ({"num_slices": 8}, {"num_slices": 8}),
        ({"extra": {"num_slices": 8, "mode": {"a": [1, 2]}}}, {"num_slices": 8}),
        ({"type": "flare", "dropout": 1}, {"type": "flare", "dropout": 1.0}),
        ({"head_dim": 5}, {}),
    ],
)
def test_the_open_schema_evolves_in_its_fields_and_in_what_it_keeps(changes, expected):
    options = {"type": "transolver", **SIZES, "num_slices": 7, "mode": {"a": [1, 2]}} | expected
    assert attrs.evolve(GENERIC, **changes) == AttentionConfig(**options)


@pytest.mark.parametrize(
    ("extra", "path", "message"),
    [
        (
            {"dropout": 0.5},
            "extra.dropout",
            "is an option of its own and cannot stand among the extra ones",
        ),
        (
            {"head_dim": 5},
            "extra.head_dim",
            "is an option of its own and cannot stand among the extra ones",
        ),
        (
            {"a": {1}},
            "extra.a",
            "expected plain data (text, finite number, boolean, None, list or mapping), got {1}",
        ),
        ({3: 4}, "extra[3]", "expected text for a key, got 3"),
        ([1], "extra", "expected a mapping, each value plain data, got [1]"),
        ("ab", "extra", "expected a mapping, each value plain data, got 'ab'"),
        (None, "extra", "expected a mapping, each value plain data, got None"),
    ],
)
@pytest.mark.parametrize("others", [{}, {"num_slices": 7}])
def test_what_cannot_be_kept_is_reported(extra, path, message, others):
    problem = problem_of(AttentionConfig, type="any", **SIZES, extra=extra, **others)
    assert (problem.path, problem.message) == (path, message)


@pytest.mark.parametrize("cls", [AttentionConfig, WindowConfig])
def test_options_are_given_by_name_and_required_ones_are_given(cls):
    with pytest.raises(TypeError, match="positional"):
        cls("window", 15, 3)
    with pytest.raises(TypeError, match="num_heads"):
        cls(type="window", hidden_dim=15)


@pytest.mark.parametrize(
    ("hidden_dim", "num_heads", "suggestion"),
    [
        (256, 7, "4 and 8 do"),
        (7, 5, "1 and 7 do"),
        (2, 3, "2 does"),
        (2**61 - 1, 2, "1 does"),
        (8, 10**12, None),
    ],
)
def test_heads_that_do_not_divide_the_width_are_reported_with_the_numbers_next_to_them_that_do(
    hidden_dim, num_heads, suggestion
):
    problem = problem_of(AttentionConfig, type="any", hidden_dim=hidden_dim, num_heads=num_heads)
    assert problem.path == "num_heads"
    assert problem.message == f"{num_heads} does not divide hidden_dim {hidden_dim}"
    assert problem.value == num_heads
    assert problem.suggestion == suggestion


@given(hidden_dim=st.integers(1, 300), num_heads=st.integers(1, 300))
def test_the_numbers_next_to_the_heads_are_the_nearest_that_divide_the_width(hidden_dim, num_heads):
    divisors = [heads for heads in range(1, hidden_dim + 1) if hidden_dim % heads == 0]
    if num_heads in divisors:
        assert (
            WindowConfig(hidden_dim=hidden_dim, num_heads=num_heads).head_dim * num_heads
            == hidden_dim
        )
        return
    below = max(heads for heads in divisors if heads < num_heads)
    above = min((heads for heads in divisors if heads > num_heads), default=None)
    suggestion = problem_of(WindowConfig, hidden_dim=hidden_dim, num_heads=num_heads).suggestion
    assert suggestion == (f"{below} does" if above is None else f"{below} and {above} do")


def test_huge_sizes_are_refused_in_no_time():
    assert "does not divide" in problem_of(WindowConfig, hidden_dim=2**62, num_heads=7**20).message


@pytest.mark.parametrize(
    "wrong", [{"hidden_dim": 0}, {"num_heads": 0}, {"num_heads": -3}, {"hidden_dim": "15"}]
)
def test_sizes_out_of_bounds_are_reported_once_and_never_divided_by(wrong):
    problem = problem_of(AttentionConfig, type="any", **SIZES | wrong)
    assert problem.keys == tuple(wrong)


@pytest.mark.parametrize("cls", [AttentionConfig, WindowConfig])
def test_a_width_of_heads_that_agrees_says_nothing_more(cls):
    config = cls(type="window", **SIZES, head_dim=5)
    assert config == cls(type="window", **SIZES)
    assert config.head_dim == 5
    assert "head_dim" not in unstructure(config)
    assert attrs.evolve(config, num_heads=5).head_dim == 3


@pytest.mark.parametrize(
    ("head_dim", "message"),
    [
        (6, "6 is not hidden_dim 15 / num_heads 3 = 5"),
        (0, "expected an integer of at least 1 or None, got 0"),
        (5.0, "expected an integer of at least 1 or None, got 5.0"),
        (True, "expected an integer of at least 1 or None, got True"),
    ],
)
def test_a_width_of_heads_that_disagrees_is_reported(head_dim, message):
    problem = problem_of(WindowConfig, **SIZES, head_dim=head_dim)
    assert (problem.path, problem.message) == ("head_dim", message)


@pytest.mark.parametrize("example", [WindowConfig(**SIZES), *SMALLEST.values()], ids=named)
def test_a_concrete_config_is_closed(example):
    with pytest.raises(TypeError, match="num_slice_s"):
        type(example)(**unstructure(example), num_slice_s=3)


@pytest.mark.parametrize(
    ("type", "accepted"),
    [
        ("window", True),
        ("acme-attn:window", True),
        ("transolver", False),
        ("acme-attn:windows", False),
        ("window:acme-attn", False),
        (3, False),
    ],
)
def test_a_concrete_config_is_of_its_type_whoever_provides_it(type, accepted):
    if accepted:
        assert WindowConfig(type=type, **SIZES).type == type
    else:
        assert problem_of(WindowConfig, type=type, **SIZES).path == "type"


def test_what_a_concrete_config_keeps_cannot_hide_its_own_options():
    problem = problem_of(WindowConfig, **SIZES, extra={"window": 5, "shift": 1})
    assert (problem.path, problem.at_key) == ("extra.window", True)


def test_evolving_checks_what_it_makes():
    with pytest.raises(ConfigError, match="4 does not divide hidden_dim 15; 3 and 5 do"):
        attrs.evolve(CONCRETE, num_heads=4)


def test_a_config_as_plain_data_has_its_type_first_and_is_ready_for_json():
    plain = unstructure(GENERIC)
    assert next(iter(plain)) == "type"
    assert json.loads(json.dumps(plain)) == plain
    assert plain["mode"] == {"a": [1, 2]}
    assert unstructure(CONCRETE, defaults=False) == {
        "type": "window",
        **SIZES,
        "window": 7,
        "names": ["a"],
    }


def test_configs_of_two_classes_are_not_equal():
    assert WindowConfig(**SIZES) != AttentionConfig(type="window", **SIZES)


@pytest.mark.parametrize("option", ["use_rope", "qk_norm"])
def test_an_option_that_transolver_cannot_honour_is_an_error_that_says_why(option):
    transolver = INSTALLED["noether-attention:transolver"]
    assert getattr(transolver(**SIZES, **{option: False}), option) is False
    problem = problem_of(transolver, **SIZES, **{option: True})
    assert problem.path == option
    assert problem.message.startswith("expected False, got True: slices ")


@pytest.mark.parametrize(
    ("mode", "suggestion"),
    [("torchs", "did you mean 'torch'?"), ("truncnormal02", "did you mean 'truncnormal002'?")],
)
def test_a_misspelt_way_to_start_weights_is_an_error(mode, suggestion):
    problem = problem_of(WindowConfig, **SIZES, init_weights=mode)
    assert problem.path == "init_weights"
    assert problem.suggestion == suggestion


def test_every_wrong_option_is_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        WindowConfig(
            hidden_dim=15, num_heads=4, window=0, dropout=1.5, bias=1, use_rope="false", names="ab"
        )
    assert [problem.path for problem in caught.value.problems] == [
        "use_rope",
        "dropout",
        "bias",
        "window",
        "names",
        "num_heads",
    ]


@pytest.mark.parametrize("config", INSTALLED.values(), ids=INSTALLED)
@given(data=st.data())
def test_any_sound_options_make_a_config_that_is_what_they_say(config, data):
    options = data.draw(options_of(config))
    made = config(**options)
    for name, value in options.items():
        if name != "head_dim":
            assert getattr(made, name) == value
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301
    assert attrs.evolve(made) == made
    assert hash(copy.deepcopy(made)) == hash(made)
    assert made.hidden_dim == made.num_heads * made.head_dim

    options = {
        "type": "window",
        "hidden_dim": 15,
        "num_heads": 3,
        "use_rope": 0,
        "dropout": 0,
        "init_weights": "truncnormal002",
        "bias": 1,
        "qk_norm": 0,
        "window": 7,
        "names": ["a"],
    }
    text = json.dumps(options, sort_keys=True, separators=(",", ":"))
    assert CONCRETE.fingerprint() == hashlib.sha256(text.encode()).hexdigest()


def test_a_fingerprint_is_the_same_in_every_process():
    code = (
        "import json, sys\n"
        "from noether_core import AttentionConfig, structure\n"
        "for options in json.load(sys.stdin):\n"
        "    print(structure(options).fingerprint())\n"
        "kept = AttentionConfig(mode={'b': 1, 'a': [1, 2]}, type='transolver', "
        "num_heads=3, hidden_dim=15)\n"
        "print(kept.fingerprint())"
    )
    kept = AttentionConfig(type="transolver", **SIZES, mode={"a": [1, 2], "b": 1})
    expected = [config.fingerprint() for config in (*SMALLEST.values(), kept)]
    options = [
        dict(reversed(unstructure(config, defaults=False).items())) for config in SMALLEST.values()
    ]
    for seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code]
        found = subprocess.run(
            command,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            input=json.dumps(options),
        )
        assert found.stdout.split() == expected
    assert len(set(expected)) == len(expected)


some_variants = pytest.mark.parametrize(
    "name", sampled(INSTALLED, *(f"noether-attention:{name}" for name in ONE_OF_EACH_FORM))
)


@some_variants
@given(data=st.data())
def test_a_fingerprint_heeds_neither_the_order_of_options_nor_defaults_that_are_written_out(
    name, data
):
    config = INSTALLED[name]
    made = data.draw(configs_of(config))
    written = list(unstructure(made).items())
    data.draw(st.randoms()).shuffle(written)
    again = structure(dict(written))
    assert again == made
    assert (
        again.fingerprint()
        == made.fingerprint()
        == structure(unstructure(made, defaults=False)).fingerprint()
    )


@some_variants
@given(data=st.data())
def test_configs_are_equal_exactly_if_their_fingerprints_are(name, data):
    config = INSTALLED[name]
    one, other = data.draw(configs_of(config)), data.draw(configs_of(config))
    assert (one == other) == (one.fingerprint() == other.fingerprint())


def test_a_fingerprint_differs_when_any_option_does():
    changes = [
        {"hidden_dim": 30},
        {"num_heads": 5},
        {"use_rope": True},
        {"dropout": 0.1},
        {"init_weights": "zeros"},
        {"bias": False},
        {"qk_norm": True},
        {"window": 6},
        {"names": ()},
        {"type": "acme:window"},
        {"extra": {"note": 1}},
    ]
    fingerprints = [attrs.evolve(CONCRETE, **change).fingerprint() for change in changes]
    assert len({CONCRETE.fingerprint(), *fingerprints}) == len(changes) + 1


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (1, 1.0), (0, False), (0.0, -0.0), ([1], [1.0]), ({}, {})]
)
def test_options_that_are_equal_have_one_fingerprint(one, other):
    configs = [AttentionConfig(type="any", **SIZES, option={"a": value}) for value in (one, other)]
    assert configs[0] == configs[1]
    assert configs[0].fingerprint() == configs[1].fingerprint()


@pytest.mark.parametrize(
    ("one", "other"), [(1, 2), (1, "1"), (0, None), ([1], 1), ([], {}), ("a", "A"), (0.1, 0.2)]
)
def test_options_that_differ_have_two_fingerprints(one, other):
    configs = [AttentionConfig(type="any", **SIZES, option={"a": value}) for value in (one, other)]
    assert configs[0] != configs[1]
    assert configs[0].fingerprint() != configs[1].fingerprint()


@pytest.mark.parametrize(
    ("name", "domain", "attn_type"),
    [
        ("surface_anchors", "surface", "anchors"),
        ("surface", "surface", "surface"),
        ("volume_far_queries", "volume", "queries"),
        ("_a", "", "a"),
    ],
)
def test_the_name_of_a_group_says_its_domain_and_its_kind(name, domain, attn_type):
    spec = TokenSpec(name, 7)
    assert (spec.domain, spec.attn_type) == (domain, attn_type)


def test_a_group_is_made_by_position_or_by_name_and_its_size_may_be_none_but_must_be_said():
    assert TokenSpec("a", 0) == TokenSpec(name="a", size=0)
    assert TokenSpec("a", None).size is None
    with pytest.raises(TypeError, match="size"):
        TokenSpec("a")


@pytest.mark.parametrize(
    ("name", "size", "path"),
    [("", 1, "name"), (3, 1, "name"), ("a", -1, "size"), ("a", True, "size"), ("a", 1.0, "size")],
)
def test_a_group_with_a_wrong_name_or_size_is_refused(name, size, path):
    assert problem_of(TokenSpec, name, size).path == path


@given(st.text(min_size=1), st.none() | st.integers(0, 2**63 - 1))
def test_a_group_as_a_dict_is_its_name_and_size_and_reads_back(name, size):
    spec = TokenSpec(name, size)
    assert spec.to_dict() == {name: size}
    assert TokenSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize("sizes", [{}, {"a": 1, "b": 2}, [("a", 1)], "a", None])
def test_a_dict_of_a_group_has_exactly_one_entry(sizes):
    problem = problem_of(TokenSpec.from_dict, sizes)
    assert problem.message == f"expected a mapping of one name to its size, got {sizes!r}"


def test_a_mapping_of_a_group_may_carry_what_follows_from_its_name():
    written = {"name": "surface_anchors", "size": 7, "domain": "surface", "attn_type": "anchors"}
    assert structure(written, TokenSpec) == TokenSpec("surface_anchors", 7)
    with pytest.raises(ConfigError, match="domian: unknown option of TokenSpec"):
        structure({"name": "a", "size": 7, "domian": "a"}, TokenSpec)


def test_a_pattern_is_made_by_position_or_by_name_and_keeps_the_order():
    pattern = AttentionPattern(["b", "a"], ["a"])
    assert pattern == AttentionPattern(key_value_tokens=("a",), query_tokens=("b", "a"))
    assert pattern.query_tokens == ("b", "a")


@pytest.mark.parametrize(
    ("names", "paths"),
    [
        ("surface", ["query_tokens"]),
        ([], ["query_tokens"]),
        (None, ["query_tokens"]),
        (["a", ""], ["query_tokens[1]"]),
        ([1, "a", None], ["query_tokens[0]", "query_tokens[2]"]),
        ({"a"}, ["query_tokens"]),
    ],
)
def test_a_pattern_of_anything_but_a_list_of_names_is_refused(names, paths):
    with pytest.raises(ConfigError) as caught:
        AttentionPattern(names, ["a"])
    assert [problem.path for problem in caught.value.problems] == paths


LOOK_AT_MOVED_NAMES = """
import json, sys, warnings
from noether_core.schemas import modules
from noether_core.schemas.modules import attention

facts = {"imported": sorted({"torch", "noether_plugins", "cattrs", "yaml"} & sys.modules.keys())}
facts["listed"] = []
for module in (attention, modules):
    facts["listed"].append(sorted(name for name in dir(module) if name.endswith("Config")))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    for name in sys.argv[1:]:
        assert getattr(modules, name) is getattr(attention, name) is getattr(modules, name)
    from noether_core.schemas.modules.attention import TransolverAttentionConfig
facts["told"] = [[w.category.__name__, str(w.message), w.filename] for w in told]
facts["torch"] = "torch" in sys.modules
for of in (attention, modules):
    try:
        of.TransolvrAttentionConfig
    except AttributeError as error:
        facts.setdefault("unknown", []).append(str(error))
print(json.dumps(facts))
"""

MOVED = {
    "DotProductAttentionConfig": "dot_product",
    "PerceiverAttentionConfig": "perceiver",
    "TransolverAttentionConfig": "transolver",
    "TransolverPlusPlusAttentionConfig": "transolver_plusplus",
    "MixedAttentionConfig": "mixed",
    "MultiBranchAnchorAttentionConfig": "anchor",
    "CrossAnchorAttentionConfig": "anchor",
    "JointAnchorAttentionConfig": "anchor",
    "FLAREAttentionConfig": "flare",
    "IrregularNatAttentionConfig": "irregular_nat",
}


@pytest.fixture(scope="module")
def moved_names():
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOOK_AT_MOVED_NAMES, *MOVED],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(found.stdout)


def test_the_old_home_of_configs_imports_neither_torch_nor_plugins(moved_names):
    assert moved_names["imported"] == []
    assert moved_names["torch"] is False


def test_the_old_home_lists_the_names_that_moved(moved_names):
    for listed in moved_names["listed"]:
        assert [name for name in listed if name != "OpenConfig"] == sorted(
            {"AttentionConfig", *MOVED}
        )


def test_a_name_that_moved_warns_once_where_it_was_imported(moved_names):
    home = "noether_plugins.attention"
    assert moved_names["told"] == [
        [
            "DeprecationWarning",
            f"{name} has moved: import it from {home}.{folder}.config",
            "<string>",
        ]
        for name, folder in MOVED.items()
    ]


def test_a_name_that_never_was_is_an_attribute_error(moved_names):
    homes = ("noether_core.schemas.modules.attention", "noether_core.schemas.modules")
    assert moved_names["unknown"] == [
        f"module '{home}' has no attribute 'TransolvrAttentionConfig'" for home in homes
    ]
