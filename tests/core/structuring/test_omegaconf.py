"""Configs of OmegaConf, with the real library."""

import enum
import subprocess
import sys
from dataclasses import dataclass

import attrs
import pytest
from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf

from noether_core import AttentionConfig, ConfigError, TokenSpec, build, structure
from noether_core.schemas import Schema

MODEL = """
width: 64
heads: {small: 4}
names: [surface, volume]
attention:
  type: joint_anchor
  hidden_dim: ${width}
  num_heads: ${heads.small}
  branches: ${names}
  anchor_suffix: _${names.0}
  dropout: ???
"""


def told(source, cls=AttentionConfig, **how):
    with pytest.raises(ConfigError) as caught:
        structure(source, cls, **how)
    return [problem.headline for problem in caught.value.problems]


def test_interpolations_are_resolved_in_the_whole_config_that_they_are_of():
    model = OmegaConf.create(MODEL)
    model.attention.dropout = 0.5
    config = structure(model.attention)
    assert (config.hidden_dim, config.num_heads, config.dropout) == (64, 4, 0.5)
    assert config.branches == ("surface", "volume")
    assert type(config.branches) is tuple
    assert config.anchor_suffix == "_surface"
    assert hash(config)


def test_what_has_no_value_is_a_problem_beside_all_others():
    model = OmegaConf.create(MODEL)
    model.attention.hidden_dim = "${depth}"
    model.attention.branches = ["surface", "${names.7}", "???"]
    model.attention.bias = "${oc.env:NO_SUCH_VARIABLE}"
    model.attention.qk_norm = 3
    assert told(model.attention) == [
        (
            "hidden_dim: expected an integer of at least 1, got ${depth}; Interpolation key "
            "'depth' not found"
        ),
        (
            "dropout: expected a number from 0 to 1, got ???; ??? stands for a value that must "
            "be given"
        ),
        (
            "bias: expected true or false, got ${oc.env:NO_SUCH_VARIABLE}; "
            'KeyError raised while resolving interpolation: "Environment variable '
            "'NO_SUCH_VARIABLE' not found\""
        ),
        "qk_norm: expected true or false, got 3",
        (
            "branches[1]: expected text that is not empty, got ${names.7}; Interpolation key "
            "'names.7' not found"
        ),
        (
            "branches[2]: expected text that is not empty, got ???; ??? stands for a value "
            "that must be given"
        ),
    ]


def test_problems_of_values_without_one_are_plain_data():
    with pytest.raises(ConfigError) as caught:
        structure(OmegaConf.create({"type": "transolver", "hidden_dim": 8, "num_heads": "???"}))
    (problem,) = caught.value.problems
    assert problem.value == problem.as_dict()["value"] == "???"


@pytest.mark.parametrize("value", ["???", "${nope}"])
def test_a_type_without_a_value_is_reported_with_what_is_installed(value):
    (problem,) = told(OmegaConf.create({"type": value, "hidden_dim": 8, "num_heads": 2}))
    assert problem.startswith(f"type: expected the name of an attention variant, got {value}; ")
    assert "; Installed: cross_anchor, " in problem


def test_values_are_as_strictly_typed_as_anywhere():
    class Kind(enum.Enum):
        SMALL = 8

    options = {
        "type": "transolver",
        "hidden_dim": Kind.SMALL,
        "num_heads": "2",
        "bias": 1,
        "num_slice": "???",
        3: 4,
    }
    assert told(OmegaConf.create(options)) == [
        "hidden_dim: expected an integer of at least 1, got <Kind.SMALL: 8>",
        "num_heads: expected an integer of at least 1, got '2'",
        "bias: expected true or false, got 1",
        (
            "num_slice: unknown option of 'transolver'; ??? stands for a value that must be given; "
            "did you mean 'num_slices'?"
        ),
        "[3]: unknown option of 'transolver'",
    ]


def test_options_that_are_kept_are_plain():
    config = structure(
        OmegaConf.create(
            {
                "type": "transolver",
                "hidden_dim": 8,
                "num_heads": 2,
                "note": {"by": ["${...hidden_dim}"]},
            }
        ),
        unknown="keep",
    )
    assert config.extra["note"]["by"] == (8,)


@pytest.mark.parametrize("wrap", [dict, lambda source: {**source}])
def test_containers_are_plain_wherever_they_lie(wrap):
    options = OmegaConf.create(
        {"type": "self_anchor", "hidden_dim": 8, "num_heads": 2, "branches": ["a", "b"]},
        flags={"readonly": True},
    )
    assert structure(wrap(options)).branches == ("a", "b")
    assert build(
        "self_anchor", hidden_dim=8, num_heads=2, branches=options.branches
    ).config == structure(options)
    assert build(options, num_heads=4).config == attrs.evolve(structure(options), num_heads=4)


def test_an_option_in_place_of_one_without_a_value_is_enough_to_build():
    options = OmegaConf.create(
        {"type": "transolver", "hidden_dim": 8, "num_heads": "???", "num_slices": 4}
    )
    assert build(options, num_heads=2).config.num_heads == 2
    with pytest.raises(ConfigError, match=r"^num_heads: .* got \?\?\?; \?\?\? stands for"):
        build(options, num_slices=2)


@attrs.frozen(kw_only=True)
class Model(Schema):
    """Configs within another."""

    attentions: tuple[AttentionConfig, ...]
    groups: tuple[TokenSpec, ...] = ()


def test_configs_in_configs_are_made_and_their_problems_located():
    good = {"type": "transolver", "hidden_dim": "${width}", "num_heads": 2}
    model = OmegaConf.create(
        {"width": 8, "model": {"attentions": [good, good], "groups": [{"name": "a", "size": 3}]}}
    )
    made = structure(model.model, Model)
    assert [config.hidden_dim for config in made.attentions] == [8, 8]
    assert made.groups == (TokenSpec("a", 3),)
    model.model.attentions[1].num_heads = "???"
    (problem,) = told(model.model, Model)
    assert problem.startswith(
        "attentions[1].num_heads: expected an integer of at least 1, got ???;"
    )


def test_a_structured_config_is_a_mapping_like_any_other():
    @dataclass
    class Transolver:
        type: str = "transolver"
        hidden_dim: int = MISSING
        num_heads: int = 2

    options = OmegaConf.structured(Transolver)
    assert told(options) == [
        (
            "hidden_dim: expected an integer of at least 1, got ???; ??? stands for a value "
            "that must be given"
        )
    ]
    options.hidden_dim = 8
    assert structure(options).hidden_dim == 8


@pytest.mark.parametrize(
    "source", [DictConfig(None), DictConfig("???"), ListConfig([]), ListConfig(["a"])], ids=repr
)
def test_what_holds_no_options_is_refused(source):
    assert told(source)[0].startswith(("type: missing", "expected a mapping of options, got ["))


def test_interpolations_without_end_are_refused():
    endless = {
        "type": "flare",
        "hidden_dim": 8,
        "num_heads": 2,
        "a": {"b": "${c}"},
        "c": {"d": "${a}"},
    }
    (problem,) = told(OmegaConf.create(endless))
    assert problem.endswith("more than 64 deep in each other; look for interpolations in a circle")
    growing = {"a0": ["x"] * 50, **{f"a{i + 1}": [f"${{a{i}}}"] * 50 for i in range(5)}}
    (problem,) = told(OmegaConf.create(growing))
    assert problem == "interpolations make more than 10000 mappings and lists"


def test_plain_data_means_the_same_whether_the_library_is_imported_or_not():
    endless = {}
    endless["again"] = endless
    (problem,) = told(
        {"type": "flare", "hidden_dim": 8, "num_heads": 2, "note": endless}, unknown="keep"
    )
    assert "fewer levels" in problem
    endless["and"] = endless
    wrong = [endless] * 30_000
    with pytest.raises(ConfigError) as caught:
        structure({"type": "flare", "hidden_dim": wrong, "num_heads": 2})
    assert caught.value.problems[0].value is wrong


def test_what_is_shared_is_made_plain_wherever_it_is_shared():
    pair = [OmegaConf.create({"name": "a", "size": 3})]
    made = structure({"attentions": [], "groups": tuple(pair)}, Model)
    assert made.groups == (TokenSpec("a", 3),)
    assert [problem.split(":")[0] for problem in told({"attentions": [pair, pair]}, Model)] == [
        "attentions[0]",
        "attentions[1]",
    ]


def test_the_library_is_never_imported_for_those_who_have_not():
    code = (
        "import sys\n"
        "from noether_core import structure\n"
        "structure({'type': 'transolver', 'hidden_dim': 8, 'num_heads': 2})\n"
        "assert not {'omegaconf', 'hydra'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
