"""JSON Schema of configs, with the library ``jsonschema`` as the referee."""

import json
from collections.abc import Mapping
from typing import Annotated, Literal

import attrs
import pytest
from annotated_types import Gt, MaxLen, MinLen, MultipleOf
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from noether_core import (
    AttentionConfig,
    ConfigError,
    TokenSpec,
    UnknownTypeError,
    json_schema,
    registry,
    structure,
    unstructure,
)
from noether_core.schemas import Distinct, Schema, help_of
from noether_core.schemas.schema import plan_of

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 600),
    st.sampled_from([0.5, 1.5, -0.25, 8.0, 2**53 + 1]),
    st.sampled_from(["", "xavier", "torchs", "8", "SILU", "softplus"]),
    st.lists(st.integers(0, 2), max_size=2),
    st.lists(st.sampled_from(["a", "b", ""]), max_size=3),
)
TYPES = registry().types()
OPTIONS = {name: sorted(plan_of(registry().get(name).config).options - {"type"}) for name in TYPES}
STRANGE = ["transolvr", "noether-attention:transolver", "acme:transolver", ""]

SAYABLE_NOWHERE = ("does not divide", "is not hidden_dim")
"""Rules across options, which no keyword of JSON Schema can say."""


def _is_sayable(problem):
    """Return whether JSON Schema can say what is wrong; docs/configs.md lists what it cannot."""
    if any(rule in problem.message for rule in SAYABLE_NOWHERE):
        return False
    if problem.message.startswith("expected an integer") and isinstance(problem.value, float):
        return not problem.value.is_integer()
    return not (
        problem.message.startswith("expected a number above") and problem.value == 2**53 + 1
    )


def _is_accepted(options):
    try:
        structure(options)
    except ConfigError as error:
        return not any(_is_sayable(problem) for problem in error.problems)
    return True


@st.composite
def _wholes(draw):
    """Draw what may be a config of any type: complete or not, with sound options and others."""
    name = draw(st.sampled_from([*TYPES, *STRANGE]))
    own = OPTIONS.get(name.rpartition(":")[2], OPTIONS["transolver"])
    example = (
        unstructure(registry().get(name).example_config(), defaults=False) if name in TYPES else {}
    )
    options = draw(
        st.dictionaries(st.sampled_from([*own, "num_slices", "nonsense"]), VALUES, max_size=5)
    )
    return {"type": name, **(example if draw(st.booleans()) else {}), **options}


@given(whole=_wholes())
@settings(max_examples=1000)
def test_the_schema_accepts_what_structure_accepts_and_refuses_what_it_refuses(whole):
    assert SCHEMA.is_valid(whole) == _is_accepted(whole)


SCHEMA = Draft202012Validator(json_schema())


@pytest.mark.parametrize("type", registry().types())
def test_the_schema_of_a_type_is_valid_and_accepts_its_example(type):
    schema = json_schema(type)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(unstructure(registry().get(type).example_config()))


@pytest.mark.parametrize("type", registry().types())
def test_every_option_has_its_help_and_its_default(type):
    config = registry().get(type).config
    for name, described in json_schema(type)["properties"].items():
        assert described["description"] == help_of(config)[name]
        assert ("default" in described) == (name != "type" and name not in plan_of(config).required)


def test_a_message_names_the_option_and_not_the_alternatives():
    (error,) = SCHEMA.iter_errors(
        {"type": "transolver", "hidden_dim": 8, "num_heads": 2, "num_slices": 0}
    )
    assert list(error.path) == ["num_slices"]
    assert error.message == "0 is less than the minimum of 1"


def test_an_unknown_type_has_no_schema():
    with pytest.raises(UnknownTypeError):
        json_schema("transolvr")


def test_a_broken_plugin_is_left_out_and_hides_no_other(site):
    site.install_variant("sound")
    site.install(
        "acme-broken",
        attention={"broken": "acme_broken"},
        files={"acme_broken.py": "raise OSError"},
    )
    assert json_schema(registry=site.registry())["properties"]["type"]["enum"] == [
        "sound",
        "sound:sound",
    ]


def test_an_ambiguous_type_is_offered_in_its_qualified_spellings_alone(site):
    site.install_variant("flow", "acme-flow")
    site.install_variant("flow", "best-flow")
    names = json_schema(registry=site.registry())["properties"]["type"]["enum"]
    assert names == ["acme-flow:flow", "best-flow:flow"]


def test_options_that_are_dropped_are_accepted():
    schema = Draft202012Validator(json_schema(TokenSpec))
    assert schema.is_valid(
        {"name": "surface", "size": None, "domain": "surface", "attn_type": "surface"}
    )
    assert not schema.is_valid({"name": "", "size": 3})
    assert not schema.is_valid({"name": "surface"})


@attrs.frozen(kw_only=True)
class Bounded(Schema):
    """Every kind of bound and container."""

    ratio: Annotated[float, Gt(0)] = 1.0
    width: Annotated[int, MultipleOf(8)] | None = None
    names: Annotated[tuple[Annotated[str, MinLen(2)], ...], MinLen(1), MaxLen(2)] = ("ab",)
    pair: tuple[int, Literal["a", "b"]] = (1, "a")
    seeds: Annotated[tuple[int, ...], Distinct()] = ()
    group: TokenSpec = TokenSpec("surface", 3)  # noqa: RUF009  frozen


@pytest.mark.parametrize(
    ("options", "is_valid"),
    [
        ({}, True),
        ({"ratio": 0}, False),
        ({"width": 16}, True),
        ({"width": None}, True),
        ({"width": 12}, False),
        ({"names": ["ab", "cd"]}, True),
        ({"names": []}, False),
        ({"names": ["a"]}, False),
        ({"names": ["ab", "cd", "ef"]}, False),
        ({"pair": [1, "b"]}, True),
        ({"pair": [1, "c"]}, False),
        ({"pair": [1]}, False),
        ({"seeds": [1, 2]}, True),
        ({"seeds": [1, 2, 1]}, False),
        ({"group": {"name": "a", "size": 1}}, True),
        ({"group": {"name": "a"}}, False),
    ],
    ids=repr,
)
def test_bounds_mean_the_same_in_both(options, is_valid):
    assert Draft202012Validator(json_schema(Bounded)).is_valid(options) == is_valid
    try:
        structure(options, Bounded)
    except ConfigError:
        assert not is_valid
    else:
        assert is_valid


@attrs.frozen(kw_only=True)
class Tree(Schema):
    """Holds itself, other configs, and configs of any type."""

    inner: "Tree | None" = None
    branches: "tuple[Tree, ...]" = ()
    attention: AttentionConfig | None = None
    group: TokenSpec | None = None
    groups: Mapping[str, TokenSpec] = attrs.field(factory=dict)


GOOD = {"type": "transolver", "hidden_dim": 8, "num_heads": 2}


@pytest.mark.parametrize(
    ("options", "is_valid"),
    [
        ({"inner": {"branches": [{}, {"inner": {"attention": GOOD}}]}}, True),
        ({"inner": {"branches": [{}, {"inner": {"attention": {**GOOD, "num_heads": 0}}}]}}, False),
        ({"inner": {"inner": {"inner": {"nonsense": 1}}}}, False),
        ({"group": {"name": "a", "size": 1}, "groups": {"b": {"name": "b", "size": None}}}, True),
        ({"groups": {"b": {"name": "b"}}}, False),
    ],
    ids=repr,
)
def test_configs_within_options_are_defined_once_and_may_hold_themselves(options, is_valid):
    schema = json_schema(Tree)
    Draft202012Validator.check_schema(schema)
    assert set(schema["$defs"]) == {"Tree", "AttentionConfig", "TokenSpec"}
    assert Draft202012Validator(schema).is_valid(options) == is_valid
    assert json.loads(json.dumps(schema)) == schema


STACK = """
from typing import Literal
import attrs
from noether_core import AttentionConfig, AttentionVariant, hookimpl

@attrs.frozen(kw_only=True)
class Stack(AttentionConfig):
    type: Literal["{type}"] = "{type}"
    inner: AttentionConfig | None = None
    others: "tuple[Stack, ...]" = ()
    {more}

@hookimpl
def noether_attention_variant():
    return AttentionVariant(config=Stack, module="nowhere:Module", interface="self")
"""

BREAKING = """
    point: complex = 1j

    @classmethod
    def rule_of(cls, option, annotation):
        from noether_core.schemas.rules import Rule
        if option == "point":
            return Rule("a point", lambda value: value)
        return AttentionConfig.rule_of(option, annotation)
"""


def test_a_type_that_holds_any_type_is_one_of_all(site):
    site.install(
        "acme",
        attention={"stack": "stack"},
        files={"stack.py": STACK.format(type="stack", more="")},
    )
    known = site.registry()
    shared = {"hidden_dim": 8, "num_heads": 2}
    good = {"type": "stack", **shared, "inner": {"type": "stack", **shared, "others": [shared]}}
    bad = {"type": "stack", **shared, "inner": {"type": "stack", **shared, "others": [{}]}}
    for source in ("stack", None):
        validator = Draft202012Validator(json_schema(source, registry=known))
        assert validator.is_valid(good)
        assert not validator.is_valid(bad)


def test_a_plugin_of_which_no_schema_can_be_written_costs_its_own_type(site):
    site.install_variant("sound")
    site.install(
        "acme",
        attention={"stack": "stack"},
        files={"stack.py": STACK.format(type="stack", more=BREAKING)},
    )
    schema = json_schema(registry=site.registry())
    assert schema["properties"]["type"]["enum"] == ["sound", "sound:sound"]
    assert "Stack" not in schema.get("$defs", {})
