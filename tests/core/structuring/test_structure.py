"""From mappings to configs: nothing coerced, every problem told at once."""

import threading
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Annotated, Literal

import attrs
import pytest
from annotated_types import MinLen

from noether_core import (
    AmbiguousTypeError,
    AttentionConfig,
    AttentionPattern,
    ConfigError,
    TokenSpec,
    UnknownTypeError,
    structure,
    unstructure,
)
from noether_core.schemas import Schema
from noether_plugins.attention.dot_product.config import DotProductAttentionConfig
from noether_plugins.attention.transolver.config import TransolverAttentionConfig

GOOD = {"type": "transolver", "hidden_dim": 12, "num_heads": 3}


@attrs.frozen(kw_only=True)
class Layer(Schema):
    """Configs in every kind of container."""

    attention: AttentionConfig
    groups: tuple[TokenSpec, ...] = ()
    patterns: Mapping[str, AttentionPattern] = attrs.field(factory=dict)
    first: TokenSpec | None = None
    few: Annotated[tuple[TokenSpec, ...], MinLen(1)] = (TokenSpec("a", 1),)
    mode: Literal["fast", "slow"] = "fast"


def problems_of(source, cls=AttentionConfig, **options):
    with pytest.raises(ConfigError) as caught:
        structure(source, cls, **options)
    return {problem.path: problem for problem in caught.value.problems}


def test_a_mapping_becomes_the_concrete_config_of_its_type():
    assert structure(GOOD) == TransolverAttentionConfig(hidden_dim=12, num_heads=3)
    assert structure({**GOOD, "type": "dot_product"}) == DotProductAttentionConfig(
        hidden_dim=12, num_heads=3
    )


def test_any_mapping_will_do_and_none_is_changed():
    assert structure(MappingProxyType(GOOD)) == structure(GOOD)
    nested = {"attention": dict(GOOD), "groups": [{"name": "a", "size": 1}], "patterns": {}}
    before = repr(nested)
    structure(nested, Layer)
    assert repr(nested) == before


def test_an_open_config_becomes_the_concrete_one():
    generic = AttentionConfig(type="transolver", hidden_dim=12, num_heads=3, num_slices=5)
    assert structure(generic) == TransolverAttentionConfig(hidden_dim=12, num_heads=3, num_slices=5)
    assert structure(generic, TransolverAttentionConfig) == structure(generic)


def test_a_concrete_config_is_given_back():
    config = TransolverAttentionConfig(hidden_dim=12, num_heads=3)
    assert structure(config) is config
    assert structure(config, TransolverAttentionConfig) is config
    assert structure(TokenSpec("a", 1), TokenSpec) == TokenSpec("a", 1)


def test_a_config_of_one_variant_is_none_of_another():
    config = DotProductAttentionConfig(hidden_dim=12, num_heads=3)
    assert (
        problems_of(config, TransolverAttentionConfig)["type"].message
        == "expected 'transolver', got 'dot_product'"
    )


def test_unstructure_undoes_structure():
    for options in (GOOD, {**GOOD, "num_slices": 5, "dropout": 0.25}):
        assert unstructure(structure(options), defaults=False) == options
        assert structure(unstructure(structure(options))) == structure(options)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("hidden_dim", "12", "expected an integer of at least 1, got '12'"),
        ("hidden_dim", 12.0, "expected an integer of at least 1, got 12.0"),
        ("hidden_dim", 3.7, "expected an integer of at least 1, got 3.7"),
        ("num_heads", True, "expected an integer of at least 1, got True"),
        ("num_heads", None, "expected an integer of at least 1, got None"),
        ("num_heads", [3], "expected an integer of at least 1, got [3]"),
        ("bias", 1, "expected true or false, got 1"),
        ("bias", "false", "expected true or false, got 'false'"),
        ("dropout", "0.1", "expected a number from 0 to 1, got '0.1'"),
        ("dropout", True, "expected a number from 0 to 1, got True"),
        ("dropout", float("nan"), "expected a number from 0 to 1, got nan"),
        ("dropout", float("inf"), "expected a number from 0 to 1, got inf"),
        ("dropout", 10**400, "expected a number from 0 to 1, got 1000000000"),
        ("init_weights", 1, "expected 'truncnormal002'"),
        ("init_weights", "torchs", "expected 'truncnormal002'"),
        ("use_rope", True, "expected False, got True"),
        ("head_dim", 4.0, "expected an integer of at least 1 or None, got 4.0"),
    ],
    ids=repr,
)
def test_nothing_is_coerced(option, value, message):
    problem = problems_of({**GOOD, option: value})[option]
    assert problem.message.startswith(message)
    assert problem.value is value


def test_a_whole_number_is_a_number():
    assert structure({**GOOD, "dropout": 0}) == structure({**GOOD, "dropout": 0.0})
    assert isinstance(structure({**GOOD, "dropout": 1}).dropout, float)


@pytest.mark.parametrize(
    "source", [[], "", "transolver", 3, None, [("type", "transolver")], ()], ids=repr
)
def test_only_a_mapping_describes_a_config(source):
    assert problems_of(source)[""].message.startswith("expected a mapping of options, got ")
    assert problems_of(source, TokenSpec)[""].message.startswith(
        "expected a mapping of options, got "
    )


def test_every_problem_is_reported_at_once():
    told = problems_of(
        {"type": "transolver", "num_heads": 0, "dropout": 1.5, "num_slice": 64, "bias": "no", 3: 4}
    )
    assert {path: problem.message for path, problem in told.items()} == {
        "hidden_dim": "missing: an integer of at least 1 is required",
        "num_heads": "expected an integer of at least 1, got 0",
        "dropout": "expected a number from 0 to 1, got 1.5",
        "bias": "expected true or false, got 'no'",
        "num_slice": "unknown option of 'transolver'",
        "[3]": "unknown option of 'transolver'",
    }
    assert told["num_slice"].suggestion == "did you mean 'num_slices'?"
    assert told["num_slice"].at_key


def test_a_rule_across_fields_is_reported_beside_other_problems():
    told = problems_of({**GOOD, "num_heads": 5, "dropout": 2, "nonsense": 1})
    assert set(told) == {"num_heads", "dropout", "nonsense"}
    assert told["num_heads"].suggestion == "4 and 6 do"


def test_problems_beside_an_unknown_type_are_reported_as_far_as_they_are_known():
    with pytest.raises(UnknownTypeError) as caught:
        structure({"type": "transolvr", "hidden_dim": 12, "num_heads": 5, "num_slices": 7})
    assert [problem.path for problem in caught.value.problems] == ["type", "num_heads"]


@pytest.mark.parametrize(
    "options", [{}, {"type": None}, {"type": 3}, {"type": ["transolver"]}], ids=repr
)
def test_a_type_that_is_none_lists_what_is_installed(options):
    problem = problems_of({"hidden_dim": 12, "num_heads": 3, **options})["type"]
    assert "the name of an attention variant" in problem.message
    assert "transolver" in problem.suggestion


def test_configs_within_configs_are_made_and_their_problems_placed():
    layer = structure(
        {
            "attention": GOOD,
            "groups": [{"name": "a", "size": 1}, {"name": "b", "size": None}],
            "patterns": {"p": {"query_tokens": ["a"], "key_value_tokens": ["b"]}},
            "first": {"name": "c", "size": 0},
        },
        Layer,
    )
    assert layer.attention == structure(GOOD)
    assert layer.groups == (TokenSpec("a", 1), TokenSpec("b", None))
    assert layer.patterns["p"] == AttentionPattern(["a"], ["b"])
    assert layer.first == TokenSpec("c", 0)
    assert structure(unstructure(layer), Layer) == layer

    told = problems_of(
        {
            "attention": {**GOOD, "num_slice": 1, "num_heads": 5},
            "groups": [{"name": "a", "size": 1}, {"name": "", "size": -1}, 3],
            "patterns": {"p": {"query_tokens": "a", "key_value_tokens": []}},
            "first": {"size": 1},
            "few": [],
            "mode": "fats",
        },
        Layer,
    )
    assert set(told) == {
        "attention.num_slice",
        "attention.num_heads",
        "groups[1].name",
        "groups[1].size",
        "groups[2]",
        "patterns.p.query_tokens",
        "patterns.p.key_value_tokens",
        "first.name",
        "few",
        "mode",
    }
    assert told["mode"].suggestion == "did you mean 'fast'?"


@pytest.mark.parametrize("value", ["ab", {"name": "a", "size": 1}, 3, {"a", "b"}], ids=type)
def test_only_a_list_is_a_list(value):
    assert problems_of({"attention": GOOD, "groups": value}, Layer)["groups"].message.startswith(
        "expected a list"
    )


def test_unknown_options_are_kept_on_request_and_reported_on_another():
    options = {**GOOD, "num_slice": 5, "note": {"by": ["me"]}}
    kept = structure(options, unknown="keep")
    assert kept.extra["num_slice"] == 5
    assert {**unstructure(kept)} == {
        **unstructure(structure(GOOD)),
        "num_slice": 5,
        "note": {"by": ["me"]},
    }
    with pytest.warns(
        UserWarning, match="num_slice: unknown option of 'transolver'; did you mean 'num_slices'?"
    ):
        assert structure(options, unknown="warn") == kept
    with pytest.raises(ValueError, match="unknown: expected one of"):
        structure(GOOD, unknown="ignore")


def test_known_options_bring_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        structure(GOOD, unknown="warn")


def test_a_schema_without_room_for_more_keeps_nothing():
    assert problems_of({"name": "a", "size": 1, "sise": 2}, TokenSpec, unknown="keep")[
        "sise"
    ].suggestion == ("did you mean 'size'?")


def test_a_qualified_type_is_kept_as_written():
    config = structure({**GOOD, "type": "noether-attention:transolver"})
    assert isinstance(config, TransolverAttentionConfig)
    assert config.type == "noether-attention:transolver"
    assert unstructure(config)["type"] == "noether-attention:transolver"
    assert structure(unstructure(config)) == config


def test_an_ambiguous_type_is_reported_with_its_location(site):
    site.install_variant("flow", "acme-flow")
    site.install_variant("flow", "best-flow")
    with pytest.raises(AmbiguousTypeError) as caught:
        structure({**GOOD, "type": "flow"}, registry=site.registry())
    assert [problem.path for problem in caught.value.problems] == ["type"]
    assert set(
        problems_of({"attention": {**GOOD, "type": "flow"}}, Layer, registry=site.registry())
    ) == {"attention.type"}


@attrs.frozen(kw_only=True)
class Pairs(Schema):
    """Lists of a fixed length, and a choice between configs."""

    pair: tuple[TokenSpec, int, AttentionPattern] | None = None
    either: TokenSpec | AttentionPattern | None = None
    attentions: Mapping[str, AttentionConfig] = attrs.field(factory=dict)


PATTERN = {"query_tokens": ["a"], "key_value_tokens": ["a"]}


def test_each_place_of_a_fixed_list_has_a_config_of_its_own():
    made = structure({"pair": [{"name": "a", "size": 1}, 3, PATTERN]}, Pairs)
    assert made.pair == (TokenSpec("a", 1), 3, AttentionPattern(["a"], ["a"]))
    assert structure(unstructure(made), Pairs) == made
    assert set(
        problems_of({"pair": [{"name": "", "size": 1}, "3", {**PATTERN, "x": 1}]}, Pairs)
    ) == {
        "pair[0].name",
        "pair[2].x",
    }
    assert problems_of({"pair": [{"name": "a", "size": 1}, 3]}, Pairs)["pair"].message.startswith(
        "expected a list of 3"
    )


def test_of_several_configs_the_one_that_was_made_is_taken_and_a_mapping_is_that_which_fits():
    assert structure({"either": TokenSpec("a", 1)}, Pairs).either == TokenSpec("a", 1)
    assert structure({"either": None}, Pairs).either is None
    assert structure({"either": {"name": "a", "size": 1}}, Pairs).either == TokenSpec("a", 1)
    assert problems_of({"either": {"name": "a", "query_tokens": ["a"]}}, Pairs)[
        "either"
    ].message.startswith("expected options of TokenSpec or AttentionPattern, got {")


def test_a_warning_points_at_whoever_asked_however_deep_the_option_stands():
    for source, cls in (
        ({**GOOD, "note": 1}, AttentionConfig),
        ({"attentions": {"a": {**GOOD, "note": 1}}}, Pairs),
    ):
        with pytest.warns(UserWarning, match="note: unknown option of 'transolver'") as told:
            structure(source, cls, unknown="warn")
        assert [warning.filename for warning in told] == [__file__]


def test_data_without_end_is_a_problem_like_any_other():
    endless = {}
    endless["again"] = endless
    assert (
        "fewer levels"
        in problems_of({**GOOD, "note": endless}, unknown="keep")["extra.note"].message
    )
    assert problems_of({**GOOD, "hidden_dim": endless})["hidden_dim"].value is endless


def test_names_of_any_kind_are_reported_as_unknown():
    assert set(problems_of({**GOOD, None: 1, (1, 2): 2, True: 3, 1.5: 4, "": 5})) == {
        "None",
        "(1, 2)",
        "[True]",
        "1.5",
        "['']",
    }
    assert (
        problems_of({**GOOD, 3: 4}, unknown="keep")["extra[3]"].message
        == "expected text for a key, got 3"
    )


def test_a_wrong_option_and_a_missing_one_of_a_nested_config_are_reported_together():
    told = problems_of(
        {"attention": {"type": "transolvr", "hidden_dim": 12, "num_heads": 0}, "first": {}}, Layer
    )
    assert set(told) == {"attention.type", "attention.num_heads", "first.name", "first.size"}


def test_eight_threads_structure_configs_of_new_types_right(site):
    for number in range(12):
        site.install_variant(f"type{number}")
    known = site.registry()
    start = threading.Barrier(8)

    def make(offset):
        start.wait(20)
        names = [f"type{(number + offset) % 12}" for number in range(12)]
        sources = {name: {"type": name, "hidden_dim": 12, "num_heads": 3} for name in names}
        made = structure({"attentions": sources}, Pairs, registry=known)
        return all(made.attentions[name].type == name for name in names)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(make, range(8)))


def test_an_unknown_option_without_a_near_name_lists_the_options_there_are():
    with pytest.raises(ConfigError) as caught:
        structure({"type": "flare", "hidden_dim": 8, "num_heads": 2, "zzz": 1})

    (problem,) = caught.value.problems
    assert problem.suggestion.startswith("the options are hidden_dim, num_heads, dropout, ")


@pytest.mark.parametrize("name", ["Type", "TYPE"])
def test_a_type_in_other_letters_hints_at_type(name):
    with pytest.raises(ConfigError) as caught:
        structure({name: "flare", "hidden_dim": 8, "num_heads": 2})

    assert caught.value.problems[0].suggestion == f"write 'type' for {name!r}"
