"""The record by which a plugin describes its variant is checked in full."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import attrs
import pytest
from annotated_types import Ge, Gt, Le, Lt, MinLen, MultipleOf, Predicate

from noether_core import (
    AttentionConfig,
    AttentionVariant,
    ConfigError,
    Problem,
    TokenSpec,
    registry,
)
from noether_core.schemas import Distinct, FrozenMapping, Schema, invariant

SIZES = {"hidden_dim": 8, "num_heads": 2}


@attrs.frozen(kw_only=True)
class Sound(AttentionConfig):
    """Can serve."""

    type: Literal["sound"] = "sound"

    window: Annotated[int, Ge(1)] = 256


class Undecorated(Sound):
    """Has no fields of its own to attrs."""


@attrs.define(kw_only=True)
class Thawed(Sound):
    """Can be changed."""

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)


@attrs.frozen(kw_only=True, slots=False)
class Unslotted(Sound):
    """Has a ``__dict__``."""


@attrs.frozen
class Positional(AttentionConfig):
    """Takes options by position."""

    type: Literal["positional"] = "positional"


@attrs.frozen(kw_only=True)
class Mutable(Sound):
    """Could be changed."""

    sizes: list[int] = attrs.field(factory=list)


@attrs.frozen(kw_only=True)
class AnyType(AttentionConfig):
    """Says not which type it is of."""


@attrs.frozen(kw_only=True)
class TwoTypes(AttentionConfig):
    """Is of two types."""

    type: Literal["one", "two"] = "one"


@attrs.frozen(kw_only=True)
class NoDefaultType(AttentionConfig):
    """Wants its own type to be said."""

    type: Literal["one"]


@attrs.frozen(kw_only=True)
class BadDefault(AttentionConfig):
    """Cannot be made with its own default."""

    type: Literal["bad"] = "bad"

    window: Annotated[int, Ge(1)] = 0


def variant(**changes):
    facts = {
        "config": Sound,
        "module": "acme.module:Window",
        "interface": "self",
        "time_exponent": 1,
        "memory_exponent": 1,
        "summary": "Tokens read what is near.",
        "example": SIZES,
        "api_version": 1,
    }
    return AttentionVariant(**facts | changes)


def test_a_record_reports_the_type_of_its_config_and_holds_plain_values():
    made = variant(capabilities=["rope", "deterministic"], time_exponent=1.5)
    assert made.type == "sound"
    assert made.capabilities == ("rope", "deterministic")
    assert (made.time_exponent, made.memory_exponent) == (1.5, 1.0)
    assert made.example == FrozenMapping(SIZES)


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"config": int}, "config", "<class 'int'> is no subclass of Schema"),
        ({"config": None}, "config", "None is no subclass of Schema"),
        (
            {"config": TokenSpec},
            "config",
            "TokenSpec is not keyword-only in name, size; say kw_only=True",
        ),
        (
            {"config": AttentionVariant},
            "config",
            "AttentionVariant is no subclass of AttentionConfig",
        ),
        (
            {"config": Undecorated},
            "config",
            "Undecorated is not decorated; put @attrs.frozen(kw_only=True) above it",
        ),
        (
            {"config": Thawed},
            "config",
            "Thawed is not frozen; decorate it with @attrs.frozen(kw_only=True)",
        ),
        ({"config": Unslotted}, "config", "Unslotted is not slotted; drop slots=False"),
        (
            {"config": Positional},
            "config",
            "Positional is not keyword-only in type; say kw_only=True",
        ),
        (
            {"config": Mutable},
            "config",
            "field 'sizes' of Mutable: no rule for the annotation list[int]; use bool",
        ),
        (
            {"config": AttentionConfig},
            "config",
            "AttentionConfig must annotate its type with one literal",
        ),
        (
            {"config": AnyType},
            "config",
            "AnyType must annotate its type with one literal: type: Literal['name'] =",
        ),
        ({"config": TwoTypes}, "config", "TwoTypes must annotate its type with one literal"),
        (
            {"config": NoDefaultType},
            "config",
            "NoDefaultType must annotate its type with one literal",
        ),
        (
            {"config": BadDefault},
            "example",
            "makes no BadDefault: window: expected an integer of at least 1, got 0",
        ),
        ({"example": SIZES | {"windw": 3}}, "example", "makes no Sound: windw: unknown option"),
        (
            {"example": SIZES | {"num_heads": 3}},
            "example",
            "makes no Sound: num_heads: 3 does not divide",
        ),
        ({"example": {"hidden_dim": {1}}}, "example.hidden_dim", "expected plain data"),
        (
            {"module": "acme.module"},
            "module",
            "expected an import path such as 'acme_window.module:WindowAttention'",
        ),
        ({"module": "acme/module.py:A"}, "module", "expected an import path"),
        ({"module": ".module:A"}, "module", "expected an import path"),
        ({"module": "acme:A()"}, "module", "expected an import path"),
        ({"module": Sound}, "module", "expected an import path"),
        ({"interface": "selfs"}, "interface", "expected 'self', 'cross' or 'tokens', got 'selfs'"),
        ({"capabilities": "rope"}, "capabilities", "expected a list"),
        ({"capabilities": ["rope", "ropes"]}, "capabilities[1]", "expected 'attn_mask'"),
        ({"time_exponent": -1}, "time_exponent", "expected a number of at least 0 or None, got -1"),
        (
            {"memory_exponent": float("nan")},
            "memory_exponent",
            "expected a number of at least 0 or None, got nan",
        ),
        ({"summary": 3}, "summary", "expected text, got 3"),
        ({"reference": None}, "reference", "expected text, got None"),
        ({"api_version": 0}, "api_version", "expected an integer of at least 1, got 0"),
        ({"api_version": "1"}, "api_version", "expected an integer of at least 1, got '1'"),
    ],
)
def test_what_is_wrong_with_a_record_is_reported(changes, path, message):
    with pytest.raises(ConfigError) as caught:
        variant(**changes)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert problem.message.startswith(message)


def test_everything_that_is_wrong_with_a_record_is_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        variant(config=Unslotted, module="acme", interface="all", api_version=1.0)
    assert [problem.path for problem in caught.value.problems] == [
        "config",
        "module",
        "interface",
        "api_version",
    ]


def bare(config, **changes):
    """Return a record of the three fields that have no default."""
    return AttentionVariant(config=config, module="acme.module:Window", interface="self", **changes)


def test_three_fields_are_a_whole_record():
    made = bare(Sound)
    assert made.capabilities == ()
    assert (made.time_exponent, made.memory_exponent) == (None, None)
    assert made.summary == "Can serve."
    assert made.reference == ""
    assert made.example == FrozenMapping({"hidden_dim": 8, "num_heads": 2})
    assert made.api_version == 1
    assert made == bare(Sound, example={}, summary="", capabilities=[])


@pytest.mark.parametrize("missing", ["config", "module", "interface"])
def test_the_other_three_must_be_given(missing):
    facts = {"config": Sound, "module": "acme.module:Window", "interface": "self"}
    del facts[missing]
    with pytest.raises(TypeError, match=missing):
        AttentionVariant(**facts)


@attrs.frozen(kw_only=True)
class WithoutText(AttentionConfig):
    type: Literal["without_text"] = "without_text"


@attrs.frozen(kw_only=True)
class LongText(AttentionConfig):
    """
    Options of attention that needs more words.

    And more of them.
    """

    type: Literal["long_text"] = "long_text"


def test_the_summary_is_the_first_line_of_the_docstring_and_not_that_of_a_base_class():
    assert bare(LongText).summary == "Options of attention that needs more words."
    assert bare(WithoutText).summary == "WithoutText"
    assert bare(LongText, summary="Brief.").summary == "Brief."


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


def config_that_requires(annotation):
    """Return a class of configs with one option more, which must be given."""
    return attrs.make_class(
        "NeedsConfig",
        {
            "type": attrs.field(default="needs", type=Literal["needs"]),
            "option": attrs.field(type=annotation),
        },
        bases=(AttentionConfig,),
        frozen=True,
        kw_only=True,
        slots=True,
    )


def _without_addresses(value):
    """Return the id of a case: the same in every process that collects it."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


@pytest.mark.parametrize(
    ("annotation", "option"),
    [
        (bool, False),
        (int, 4),
        (Annotated[int, Ge(1)], 4),
        (Annotated[int, Ge(5)], 5),
        (Annotated[int, Ge(1), Le(3)], 3),
        (Annotated[int, Ge(100)], 100),
        (Annotated[int, Gt(100)], 101),
        (Annotated[int, Le(-100)], -100),
        (Annotated[int, MultipleOf(128)], 0),
        (Annotated[int, Ge(1), MultipleOf(128)], 128),
        (Annotated[int, Predicate(lambda number: number % 7 == 6)], 6),
        (float, 1.0),
        (Annotated[float, Gt(1), Lt(2)], 1.5),
        (Annotated[float, Ge(0), Lt(0.5)], 0.25),
        (Annotated[float, Lt(-2)], -3.0),
        (str, "a"),
        (Annotated[str, MinLen(3)], "aaa"),
        (Literal["fast", "exact"], "fast"),
        (Colour, "red"),
        (int | None, 4),
        (None | Annotated[float, Gt(2)], 3.0),
        (tuple[str, ...], ("a",)),
        (Annotated[tuple[str, ...], MinLen(3), Distinct()], ("a", "b", "c")),
        (Annotated[tuple[int, ...], MinLen(2)], (4, 3)),
        (tuple[int, float], (4, 1.0)),
        (Sequence[Literal["x"]], ("x",)),
        (Annotated[Mapping[str, int], MinLen(2)], FrozenMapping({"a": 4, "b": 4})),
        (Any, None),
    ],
    ids=_without_addresses,
)
def test_the_example_is_made_of_small_values_within_the_bounds(annotation, option):
    made = bare(config_that_requires(annotation))
    assert made.example["option"] == option
    assert type(made.example["option"]) is type(option)
    assert made.example_config().hidden_dim == 8


@attrs.frozen(kw_only=True)
class Wide(AttentionConfig):
    """Has bounds of its own on the options of all."""

    type: Literal["wide"] = "wide"

    hidden_dim: Annotated[int, Ge(64)]

    num_heads: Annotated[int, Ge(4)]


def test_bounds_on_width_and_heads_go_before_the_usual_sizes():
    assert bare(Wide).example == FrozenMapping({"hidden_dim": 64, "num_heads": 4})


@attrs.frozen(kw_only=True)
class Agreeing(Sound):
    """Has options that must agree."""

    stride: Annotated[int, Ge(1)]

    @invariant
    @staticmethod
    def stride_is_the_window(stride: int, window: int) -> Problem | None:
        if stride == window:
            return None
        return Problem(keys=("stride",), message=f"{stride} is not the window {window}")


@attrs.frozen(kw_only=True)
class Particular(Sound):
    """Has an option whose values cannot be guessed."""

    code: Annotated[int, Predicate(lambda number: number == 12345)]

    frame: Schema


@pytest.mark.parametrize(
    ("config", "message", "suggestion"),
    [
        (
            Agreeing,
            "small values of hidden_dim, num_heads, stride make no Agreeing: stride: 4 is not the",
            "example={'hidden_dim': ..., 'num_heads': ..., 'stride': ...}",
        ),
        (
            Particular,
            "small values of code, frame, hidden_dim, num_heads make no Particular: code: missing",
            "example={'code': ..., 'frame': ..., 'hidden_dim': ..., 'num_heads': ...}",
        ),
    ],
)
def test_a_record_wants_the_example_that_cannot_be_made(config, message, suggestion):
    with pytest.raises(ConfigError) as caught:
        bare(config)
    (problem,) = caught.value.problems
    assert problem.path == "example"
    assert problem.message.startswith(message)
    assert problem.suggestion.endswith(suggestion)


def test_an_example_that_is_given_is_taken_where_none_could_be_made():
    assert bare(Agreeing, example=SIZES | {"stride": 256}).example["stride"] == 256


@pytest.mark.parametrize("type", registry().types())
def test_the_example_of_an_installed_variant_makes_its_config(type):
    installed = registry().get(type)
    assert installed.config(**installed.example).type == type
    assert installed.type == type
