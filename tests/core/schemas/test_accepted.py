"""What a config class accepts, as data that is the same everywhere."""

from __future__ import annotations

import enum
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Optional

import attrs
import pytest
from annotated_types import Ge, Gt, Interval, Le, MaxLen, MinLen, Predicate

from noether_core import AttentionConfig, registry
from noether_core.schemas import Because, Distinct, InitWeightsMode, Schema
from noether_core.schemas.accepted import accepted_by, changes_between, schema_hash
from noether_core.schemas.rules import Rule

TOY_HASH = "06a1485b165debd76e8f07e72089c07541b003bd30574e1fcc0cb27b82053ba9"
"""Of the class below. Saved modules and lock files hold such hashes: that of a class that stays may
never change.
"""


class Mood(enum.Enum):
    CALM = "calm"
    WILD = "wild"


@attrs.frozen(kw_only=True)
class Inner(Schema):
    size: Annotated[int, Ge(0)] | None = None


@attrs.frozen(kw_only=True)
class Tree(Schema):
    branches: tuple[Tree, ...] = ()


def is_odd(value: int) -> bool:
    return value % 2 == 1


is_odd.__module__ = "test_accepted"  # part of the hash, and pytest may call this module as it likes


@attrs.frozen(kw_only=True)
class Toy(Schema):
    count: Annotated[int, Ge(1), Le(9), Predicate(is_odd)]
    share: Annotated[float, Interval(ge=0, le=1)] = 0.5
    name: Annotated[str, MinLen(1)] = "toy"
    mood: Mood = Mood.CALM
    mode: Literal["a", 1, True] = "a"
    is_on: bool = True
    sizes: Annotated[tuple[int, ...], MaxLen(4), Distinct()] = (1, 2)
    pair: tuple[int, str] = (1, "a")
    table: Mapping[str, Inner] = attrs.field(factory=lambda: {"a": Inner(size=3)})
    inner: Inner | None = None
    other: AttentionConfig | None = None
    anything: Any = None
    tree: Tree = Tree()


def toy(annotation: Any = int, **field: Any) -> dict[str, Any]:
    """Return what a class accepts whose one option is annotated so."""
    body = {"__annotations__": {"window": annotation}, "window": attrs.field(**field)}
    return accepted_by(attrs.frozen(kw_only=True)(type("Toy", (Schema,), body)))


def test_everything_that_a_field_can_be_is_counted():
    assert accepted_by(Toy) == {
        "count": {
            "accepts": {"is": "integer", "ge": 1, "le": 9, "predicate": "test_accepted.is_odd"},
        },
        "share": {"accepts": {"is": "number", "ge": 0, "le": 1}, "default": 0.5},
        "name": {"accepts": {"is": "text", "min_length": 1}, "default": "toy"},
        "mood": {"accepts": {"one of": ["calm", "wild"]}, "default": "calm"},
        "mode": {"accepts": {"one of": ["a", 1, True]}, "default": "a"},
        "is_on": {"accepts": {"is": "boolean"}, "default": True},
        "sizes": {
            "accepts": {"items": {"is": "integer"}, "max_length": 4, "distinct": True},
            "default": [1, 2],
        },
        "pair": {"accepts": {"each": [{"is": "integer"}, {"is": "text"}]}, "default": [1, "a"]},
        "table": {
            "accepts": {
                "values": {
                    "options": {
                        "size": {
                            "accepts": {"any of": [{"ge": 0, "is": "integer"}, {"is": "none"}]},
                            "default": None,
                        }
                    }
                }
            },
            "default": {"a": {"size": 3}},
        },
        "inner": {
            "accepts": {
                "any of": [
                    {"is": "none"},
                    {
                        "options": {
                            "size": {
                                "accepts": {"any of": [{"ge": 0, "is": "integer"}, {"is": "none"}]},
                                "default": None,
                            }
                        }
                    },
                ]
            },
            "default": None,
        },
        "other": {
            "accepts": {"any of": [{"is": "none"}, {"is": "the config of any type"}]},
            "default": None,
        },
        "anything": {"accepts": {"is": "plain data"}, "default": None},
        "tree": {
            "accepts": {
                "options": {
                    "branches": {
                        "accepts": {"items": {"is": "the options around it, 1 levels up"}},
                        "default": [],
                    }
                }
            },
            "default": {"branches": []},
        },
    }


def test_the_hash_of_a_class_that_stays_stays():
    assert schema_hash(accepted_by(Toy)) == TOY_HASH


def test_the_hash_of_every_variant_is_the_same_in_every_process():
    code = (
        "from noether_core import registry\n"
        "from noether_core.schemas.accepted import accepted_by, schema_hash\n"
        "configs = [registry().get(name).config for name in registry().types()]\n"
        "print(*[schema_hash(accepted_by(config)) for config in configs])"
    )
    here = [schema_hash(accepted_by(registry().get(name).config)) for name in registry().types()]
    for seed in "1", "2":
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        there = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.split() == here
    assert len(set(here)) == len(here)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Annotated[int, Ge(1)] | None, Annotated[int | None, Ge(1)]),
        (Annotated[Annotated[int, Ge(1)] | None, Le(9)], Annotated[int, Ge(1), Le(9)] | None),
        (int | None, Optional[int]),  # noqa: UP045  the spelling is the test
        (int | str, str | int),
        (Literal["a", "b"], Literal["b", "a"]),
        (Literal["calm", "wild"], Mood),
        (tuple[int, ...], Sequence[int]),
        (Annotated[float, Ge(0), Le(1)], Annotated[float, Interval(ge=0, le=1)]),
        (Annotated[float, Ge(0)], Annotated[float, Ge(0.0)]),
        (Annotated[int, Ge(1)], Annotated[int, Ge(1), Because("windows see something")]),
        (Annotated[int, Ge(1), Ge(2)], Annotated[int, Ge(2)]),
    ],
    ids=str,
)
def test_annotations_that_mean_the_same_are_one(one, other):
    assert schema_hash(toy(one)) == schema_hash(toy(other))


@pytest.mark.parametrize(
    ("annotation", "field"),
    [
        (float, {"default": 3}),
        (int, {}),
        (int, {"default": 4}),
        (Annotated[int, Ge(0)], {"default": 3}),
        (Annotated[int, Gt(0)], {"default": 3}),
        (Annotated[int, Ge(1), Predicate(is_odd)], {"default": 3}),
        (int | None, {"default": 3}),
        (Literal[3, 5], {"default": 3}),
        (Any, {"default": 3}),
    ],
    ids=str,
)
def test_another_type_bound_choice_or_default_has_another_hash(annotation, field):
    assert schema_hash(toy(annotation, **field)) != schema_hash(
        toy(Annotated[int, Ge(1)], default=3)
    )


def test_equal_numbers_are_equal_defaults():
    assert schema_hash(toy(float, default=1)) == schema_hash(toy(float, default=1.0))


def test_choices_of_numbers_and_of_truth_differ():
    numbers, truth = toy(Literal[1], default=1), toy(Literal[True], default=True)
    assert schema_hash(numbers) != schema_hash(truth)
    assert len(list(changes_between(numbers, truth))) == 2


def test_neither_help_nor_order_nor_names_of_classes_nor_rules_across_fields_count():
    @attrs.frozen(kw_only=True)
    class One(Schema):
        """One."""

        window: int = 3
        """Tokens."""

        mode: InitWeightsMode = "zeros"

    @attrs.frozen(kw_only=True)
    class Other(Schema):
        mode: InitWeightsMode = "zeros"
        window: int = 3

    assert schema_hash(accepted_by(One)) == schema_hash(accepted_by(Other))


def test_an_option_that_is_kept_without_being_read_is_none():
    assert "extra" not in accepted_by(AttentionConfig)
    assert "head_dim" in accepted_by(AttentionConfig)


def test_a_schema_with_rules_of_its_own_counts_by_its_words():
    @attrs.frozen(kw_only=True)
    class Own(Schema):
        window: complex = 1j

        @classmethod
        def rule_of(cls, option, annotation):
            return Rule("a point of the plane", lambda value: value)

    assert accepted_by(Own)["window"]["accepts"] == {"is": "a point of the plane"}


def test_changes_are_named_by_option():
    before = toy(Annotated[int, Ge(1)], default=3) | {
        "stride": {"accepts": {"is": "integer"}, "default": 1}
    }
    here = toy(Annotated[int, Ge(2)]) | {
        "mode": {"accepts": {"is": "text"}},
        "dilation": {"accepts": {}, "default": 2},
    }
    assert list(changes_between(before, here)) == [
        "'dilation' is new, with the default 2",
        "'mode' is new, and required",
        "'stride' is gone",
        "'window' accepts other values",
        "'window' has no default instead of the default 3",
    ]
    assert list(changes_between(before, before)) == []
