"""Values of options: of a wrong kind, at bounds, and others that make sound configs."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Interval

from noether_core.schemas.schema import plan_of
from noether_core.testing import Subject
from noether_core.testing.option_values import (
    foreign_values,
    is_fixed,
    number_ranges,
    other_values,
    takes_anything,
)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(
    ("annotation", "taken", "refused"),
    [
        (int, (), (True, 2.5, "1", None, [1])),
        (Annotated[float, Gt(0)], (1, 7), (True, "1", None)),
        (bool, (), (1, 0, "true", None)),
        (int | None, (None,), (True, "1")),
        (Literal["a", "b"], ("text",), (1, True, None, ["text"])),
        (Colour, ("text",), (1, True, None)),
        (tuple[str, ...], ([],), ("text", 1)),
        (Mapping[str, int], ({},), ("text", [])),
    ],
)
def test_values_of_every_other_kind_are_foreign(annotation, taken, refused):
    values = list(foreign_values(annotation, 4))
    held = [(type(value), value) for value in values]
    assert all((type(value), value) in held for value in refused)
    assert not any((type(value), value) in held for value in taken)


def test_text_that_reads_like_a_number_is_foreign_to_one():
    assert "4" in list(foreign_values(int, 4))


def test_any_takes_anything():
    assert takes_anything(Any)
    assert takes_anything(Any | None)
    assert not takes_anything(int | None)


@pytest.mark.parametrize(
    ("annotation", "is_one"),
    [
        (Literal[False], True),
        (Annotated[Literal["a"], "why"], True),
        (Literal[1, 2], False),
        (bool, False),
    ],
)
def test_one_literal_is_fixed(annotation, is_one):
    assert is_fixed(annotation) is is_one


def test_bounds_are_found_in_unions_too():
    (optional,) = number_ranges(Annotated[int, Ge(2)] | None)
    assert (list(optional.outside()), list(optional.outermost())) == ([1], [2])
    (closed,) = number_ranges(Annotated[float, Interval(ge=0, le=1)])
    assert (list(closed.outside()), list(closed.outermost())) == ([-0.001, 1.001], [0, 1])
    (opened,) = number_ranges(Annotated[float, Gt(0)])
    assert (list(opened.outside()), list(opened.outermost())) == ([0], [0.001])
    (unbounded,) = number_ranges(int)
    assert (list(unbounded.outside()), list(unbounded.outermost())) == ([], [-1, 0])
    assert list(number_ranges(tuple[str, ...])) == []


def test_other_values_make_sound_configs_and_differ_from_the_example():
    subject = Subject.of("flare")
    for field in plan_of(subject.variant.config).fields:
        for value in itertools.islice(other_values(subject, field), 5):
            if field.option not in {"type", "head_dim", "extra"}:
                assert subject.is_sound(**{field.option: value})
                assert value != getattr(subject.config(), field.name)
