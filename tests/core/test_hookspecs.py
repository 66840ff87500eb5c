"""The record by which a plugin describes its variant is checked in full."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
import pytest
from annotated_types import Ge

from noether_core import AttentionConfig, AttentionVariant, ConfigError, TokenSpec, registry
from noether_core.schemas import FrozenMapping

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


def test_a_record_tells_the_type_of_its_config_and_holds_plain_values():
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
        ({"example": {}}, "example", "makes no Sound: hidden_dim: missing"),
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
        ({"time_exponent": -1}, "time_exponent", "expected a number of at least 0, got -1"),
        (
            {"memory_exponent": float("nan")},
            "memory_exponent",
            "expected a number of at least 0, got nan",
        ),
        ({"summary": ""}, "summary", "expected text that is not empty, got ''"),
        ({"reference": None}, "reference", "expected text, got None"),
        ({"api_version": 0}, "api_version", "expected an integer of at least 1, got 0"),
        ({"api_version": "1"}, "api_version", "expected an integer of at least 1, got '1'"),
    ],
)
def test_what_is_wrong_with_a_record_is_told(changes, path, message):
    with pytest.raises(ConfigError) as caught:
        variant(**changes)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert problem.message.startswith(message)


def test_everything_that_is_wrong_with_a_record_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        variant(config=Unslotted, module="acme", interface="all", api_version=1.0)
    assert [problem.path for problem in caught.value.problems] == [
        "config",
        "module",
        "interface",
        "api_version",
    ]


def test_the_version_of_the_contract_must_be_said():
    facts = {
        name: getattr(variant(), name)
        for name in ("config", "module", "interface", "summary", "example")
    }
    with pytest.raises(TypeError, match="api_version"):
        AttentionVariant(**facts, time_exponent=1, memory_exponent=1)


@pytest.mark.parametrize("type", registry().types())
def test_the_example_of_an_installed_variant_makes_its_config(type):
    installed = registry().get(type)
    assert installed.config(**installed.example).type == type
    assert installed.type == type
