"""Options that are one of several configs are read again, or their class is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import attrs
import pytest
from annotated_types import Ge, MinLen
from jsonschema import Draft202012Validator

from noether_core import (
    AttentionConfig,
    ConfigError,
    TokenSpec,
    dump,
    json_schema,
    load,
    structure,
    unstructure,
)
from noether_core.schemas import Because, Schema
from noether_plugins.attention.transolver.config import TransolverAttentionConfig


@attrs.frozen(kw_only=True)
class Linear(Schema):
    width: Annotated[int, Ge(1)] = 4
    bias: bool = True


@attrs.frozen(kw_only=True)
class Spline(Schema):
    knots: Annotated[int, Ge(2)]
    bias: bool = True


@attrs.frozen(kw_only=True)
class Ball(Schema):
    kind: Literal["ball"] = "ball"
    radius: float | None = None


@attrs.frozen(kw_only=True)
class Box(Schema):
    kind: Literal["box", "cube"] = "box"
    radius: float | None = None


@attrs.frozen(kw_only=True)
class Holder(Schema):
    off: Literal["none"] | Linear = "none"
    flag: bool | Linear = False
    fits: Linear | Spline = Linear()
    tagged: Annotated[Ball | Box, Because("space has shapes")] | None = None
    many: Annotated[tuple[Ball | Box | int, ...], MinLen(1)] = (1,)
    named: Mapping[str, Linear | Spline] = attrs.field(factory=dict)
    few: tuple[Linear, ...] | Linear | None = None
    inner: AttentionConfig | Linear | float = 0.5


TRANSOLVER = TransolverAttentionConfig(hidden_dim=8, num_heads=2)

SETTINGS: list[dict[str, Any]] = [
    {"off": Linear()},
    {"off": Linear(width=9)},
    {"flag": True},
    {"flag": Linear(bias=False)},
    {"fits": Spline(knots=3)},
    {"fits": Linear(width=7)},
    {"tagged": Ball()},
    {"tagged": Box()},
    {"tagged": Box(kind="cube", radius=1.5)},
    {"many": (Ball(), Box(), 3, Box(kind="cube"))},
    {"named": {"a": Linear(), "b": Spline(knots=2)}},
    {"few": (Linear(), Linear(width=2))},
    {"few": Linear()},
    {"few": ()},
    {"inner": TRANSOLVER},
    {"inner": Linear()},
    {"inner": 2},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("suffix", [".yaml", ".toml", ".json"])
def test_a_union_is_read_as_it_was_made_with_defaults_and_without(settings, suffix, tmp_path):
    config = Holder(**settings)
    for defaults in (True, False):
        assert structure(unstructure(config, defaults=defaults), Holder) == config
        dump(config, tmp_path / f"a{suffix}", defaults=defaults)
        assert load(tmp_path / f"a{suffix}", Holder) == config
    assert structure(config, Holder) is config
    assert structure(settings, Holder) == config
    plain = json.loads(json.dumps(unstructure(config, defaults=False)))
    assert Draft202012Validator(json_schema(Holder)).is_valid(plain)


def problems_of(**source):
    with pytest.raises(ConfigError) as caught:
        structure(source, Holder)
    return [(problem.path, problem.message) for problem in caught.value.problems]


def test_what_is_wrong_is_reported_of_the_member_that_was_meant():
    assert problems_of(off={"width": 0}, fits={"knots": 1}, flag={"widht": 3}) == [
        ("off.width", "expected an integer of at least 1, got 0"),
        ("flag.widht", "unknown option of Linear"),
        ("fits.knots", "expected an integer of at least 2, got 1"),
    ]
    assert problems_of(tagged={"kind": "cone"}, many=[{"kind": "ball", "radius": "1"}]) == [
        ("tagged.kind", "expected 'ball', 'box' or 'cube', got 'cone'"),
        ("many[0].radius", "expected a number or None, got '1'"),
    ]
    assert problems_of(off="nnoe", few=3) == [
        ("off", "expected 'none' or a Linear, got 'nnoe'"),
        ("few", "expected a list, each a Linear, a Linear or None, got 3"),
    ]


def test_options_that_fit_several_members_are_a_problem_and_not_a_guess():
    ((path, message),) = problems_of(tagged={"radius": 1.5})
    assert (path, message) == ("tagged", "may be Ball or Box: {'radius': 1.5}")


def test_an_open_config_in_a_union_becomes_the_concrete_one():
    open_config = AttentionConfig(type="transolver", hidden_dim=8, num_heads=2)
    assert structure({"inner": open_config}, Holder).inner == TRANSOLVER


def field_of(annotation):
    return attrs.make_class(
        "Ambiguous",
        {"choice": attrs.field(type=annotation)},
        bases=(Schema,),
        frozen=True,
        kw_only=True,
        slots=True,
    )


@attrs.frozen(kw_only=True)
class Empty(Schema):
    radius: float | None = None


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (Ball | Empty, "options of Ball and Empty may be the same"),
        (tuple[Empty | Ball, ...], "options of Empty and Ball may be the same"),
        (AttentionConfig | TransolverAttentionConfig | None, "may be the same; give both a field"),
        (Mapping[str, int] | Linear, "a mapping may be the options of Linear"),
        (Any | Linear, "Any beside a config"),
        (tuple[Linear, ...] | tuple[TokenSpec, ...], "a list may be one of several"),
        (Mapping[str, Linear] | Mapping[str, int], "a mapping may be one of several"),
    ],
    ids=str,
)
def test_a_union_that_cannot_be_decided_is_refused_when_its_class_is_read(annotation, reason):
    with pytest.raises(TypeError, match=f"field 'choice' of Ambiguous: .*{reason}"):
        structure({"choice": {}}, field_of(annotation))
