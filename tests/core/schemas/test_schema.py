"""Configs are checked whole, and classes that cannot serve say why."""

from __future__ import annotations

from typing import Annotated

import attrs
import pytest
from annotated_types import Ge, MinLen

from noether_core.errors import ConfigError, Problem
from noether_core.schemas import AttentionConfig, FrozenMapping, Schema, TokenSpec, invariant
from noether_core.schemas.schema import plan_of, problems_of


@attrs.frozen(kw_only=True)
class Window(Schema):
    """Options with every kind of field that a schema may have."""

    size: Annotated[int, Ge(1)]
    stride: Annotated[int, Ge(1)] = 1
    names: tuple[str, ...] = attrs.field(factory=tuple)
    _hidden: int | None = None
    label: Annotated[str, MinLen(1)] = attrs.field(default="a", alias="title")
    area: int = attrs.field(init=False, default=0)

    @invariant
    @staticmethod
    def stride_fits(size: int, stride: int) -> Problem | None:
        if stride <= size:
            return None
        return Problem(keys=("stride",), message=f"{stride} is more than size {size}", value=stride)

    @staticmethod
    @invariant
    def size_is_even(size: int) -> Problem | None:
        return (
            None if size % 2 == 0 else Problem(keys=("size",), message=f"{size} is odd", value=size)
        )


def told(error: ConfigError) -> list[tuple[str, str]]:
    return [(problem.path, problem.message) for problem in error.problems]


def test_a_config_holds_canonical_values():
    window = Window(size=4, names=["a"], hidden=3)
    assert window.names == ("a",)
    assert window._hidden == 3
    assert (window.stride, window.label, window.area) == (1, "a", 0)


def test_everything_that_is_wrong_is_reported_at_once_under_the_names_that_constructors_use():
    with pytest.raises(ConfigError) as caught:
        Window(size="4", stride=0, names=["a", 1, None], hidden=1.5, title="")
    assert told(caught.value) == [
        ("size", "expected an integer of at least 1, got '4'"),
        ("stride", "expected an integer of at least 1, got 0"),
        ("names[1]", "expected text, got 1"),
        ("names[2]", "expected text, got None"),
        ("hidden", "expected an integer or None, got 1.5"),
        ("title", "expected text that is not empty, got ''"),
    ]


def test_every_broken_rule_across_fields_is_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        Window(size=3, stride=5)
    assert sorted(told(caught.value)) == [("size", "3 is odd"), ("stride", "5 is more than size 3")]


def test_a_rule_across_fields_is_asked_only_of_fields_that_are_sound():
    with pytest.raises(ConfigError) as caught:
        Window(size=3, stride="x")
    assert told(caught.value) == [
        ("stride", "expected an integer of at least 1, got 'x'"),
        ("size", "3 is odd"),
    ]


def test_problems_of_options_include_those_that_are_missing_and_not_those_reported_elsewhere():
    missing = ("size", "missing: an integer of at least 1 is required")
    assert [(p.path, p.message) for p in problems_of(Window, {})] == [missing]
    assert [(p.path, p.message) for p in problems_of(Window, {"unknown": 1})] == [missing]
    assert problems_of(Window, {"stride": 0}, frozenset({"size", "stride"})) == []
    assert problems_of(Window, {"size": 4, "title": "b"}) == []


def test_a_default_that_breaks_its_own_field_is_reported_like_any_other_value():
    @attrs.frozen(kw_only=True)
    class Broken(Schema):
        size: Annotated[int, Ge(1)] = 0

    assert [problem.path for problem in problems_of(Broken, {})] == ["size"]
    with pytest.raises(ConfigError, match="size: expected an integer of at least 1, got 0"):
        Broken()


def test_a_rule_of_a_subclass_takes_the_place_of_its_base_rule_of_the_same_name():
    @attrs.frozen(kw_only=True)
    class Loose(Window):
        @invariant
        @staticmethod
        def size_is_even(size: int) -> Problem | None:
            return None

    assert Loose(size=3).size == 3
    with pytest.raises(ConfigError, match="stride: 5 is more than size 3"):
        Loose(size=3, stride=5)


def test_a_rule_without_staticmethod_is_heeded_as_well():
    @attrs.frozen(kw_only=True)
    class Plain(Schema):
        size: int

        @invariant
        def size_is_positive(size: int) -> Problem | None:  # noqa: N805  it has no self
            return None if size > 0 else Problem(keys=("size",), message="negative")

    with pytest.raises(ConfigError, match="size: negative"):
        Plain(size=-1)


def test_a_rule_that_fails_itself_hides_no_other_problem():
    @attrs.frozen(kw_only=True)
    class Careless(Schema):
        size: int
        label: str = ""

        @invariant
        @staticmethod
        def size_divides(size: int) -> Problem | None:
            return None if 8 % size == 0 else False

    assert Careless(size=2).size == 2
    with pytest.raises(ConfigError) as caught:
        Careless(size=0)
    (problem,) = caught.value.problems
    assert problem.message.endswith(
        "Careless.size_divides raised ZeroDivisionError: integer modulo by zero"
    )
    with pytest.raises(
        ConfigError, match=r"Careless.size_divides returned False; it must return a Problem or None"
    ):
        Careless(size=3)
    with pytest.raises(ConfigError) as caught:
        Careless(size=3, label=4)
    assert [problem.path for problem in caught.value.problems] == ["label", ""]


def test_a_default_is_checked_as_well_as_any_other_value():
    @attrs.frozen(kw_only=True)
    class Unsound(Schema):
        size: int = None
        names: tuple[str, ...] = ["a"]
        share: float = 1

    with pytest.raises(ConfigError, match=r"^size: expected an integer, got None$"):
        Unsound()
    assert Unsound(size=1).names == ("a",)
    assert repr(Unsound(size=1).share) == "1.0"


def test_what_equals_a_default_is_checked_all_the_same():
    with pytest.raises(ConfigError, match=r"^stride: expected an integer of at least 1, got True$"):
        Window(size=4, stride=True)
    with pytest.raises(ConfigError, match=r"^stride: expected an integer of at least 1, got 1\.0$"):
        Window(size=4, stride=1.0)


def test_a_config_is_frozen_and_slotted():
    window = Window(size=4)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        window.size = 6
    with pytest.raises(AttributeError):
        window.unknown = 1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del window.size
    assert not hasattr(window, "__dict__")


def test_a_plan_is_made_once_per_class_and_knows_names_and_defaults():
    plan = plan_of(Window)
    assert plan is plan_of(Window)
    assert plan.options == {"size", "stride", "names", "hidden", "title"}
    assert plan.required == {"size"}
    assert plan.default_of("names") == ()
    assert plan.default_of("title") == "a"
    assert plan.default_of("size") is attrs.NOTHING


def test_a_config_within_a_config_and_a_mapping_of_them_are_kept_as_they_are():
    @attrs.frozen(kw_only=True)
    class Outer(Schema):
        main: TokenSpec
        others: tuple[TokenSpec, ...] = ()

    spec = TokenSpec("surface", 7)
    outer = Outer(main=spec, others=[spec])
    assert outer.main is spec
    assert outer.others == (spec,)
    with pytest.raises(ConfigError, match="main: expected a TokenSpec, got"):
        Outer(main={"name": "surface", "size": 7})


def test_a_mapping_in_a_config_is_frozen():
    config = AttentionConfig(type="any", hidden_dim=4, num_heads=2, extra={"a": [1]})
    assert type(config.extra) is FrozenMapping
    with pytest.raises(TypeError):
        config.extra["a"] = 2
