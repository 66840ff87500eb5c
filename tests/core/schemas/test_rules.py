"""What a field of every annotation accepts, refuses and tells."""

from __future__ import annotations

import enum
import functools
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType, NoneType
from typing import Annotated, Any, Literal, Optional, Union

import annotated_types as at
import attrs
import numpy as np
import pytest

from noether_core.errors import ConfigError
from noether_core.schemas import Because, Distinct, FrozenMapping, Schema, TokenSpec
from noether_core.schemas.annotations import holds_schema, is_schema
from noether_core.schemas.rules import rule_for


class Colour(str, enum.Enum):  # noqa: UP042  the kind that a rule for text takes for text
    RED = "red"
    BLUE = "blue"


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


NAN, INFINITY = math.nan, math.inf
SPEC = TokenSpec("surface", 7)

ACCEPTED = [
    (bool, True, True),
    (bool, False, False),
    (int, 0, 0),
    (int, -7, -7),
    (int, 10**18, 10**18),
    (float, 0.5, 0.5),
    (float, 3, 3.0),
    (float, -0.0, 0.0),
    (float, 2**53, float(2**53)),
    (str, "", ""),
    (str, "naïve", "naïve"),
    (NoneType, None, None),
    (int | None, None, None),
    (int | None, 3, 3),
    (Optional[int], None, None),  # noqa: UP045  the older spelling is another object
    (Union[int, str], "3", "3"),  # noqa: UP007  likewise
    (int | float, 3, 3),
    (int | float, 3.0, 3.0),
    (Literal["a", "b"], "b", "b"),
    (Literal[1, 2], 2, 2),
    (Literal[True, "auto"], True, True),
    (Literal["a", None], None, None),  # noqa: PYI061  likewise
    (Literal["exp"] | None, None, None),
    (Colour, "red", Colour.RED),
    (Colour, Colour.BLUE, Colour.BLUE),
    (Level, 2, Level.HIGH),
    (tuple[int, ...], (), ()),
    (tuple[int, ...], [1, 2], (1, 2)),
    (tuple[int, ...], (1, 2), (1, 2)),
    (tuple[int, str], [1, "a"], (1, "a")),
    (Sequence[str], ["a"], ("a",)),
    (Sequence[float], [1, 2.5], (1.0, 2.5)),
    (tuple[tuple[int, ...], ...], [[1], []], ((1,), ())),
    (Mapping[str, int], {"a": 1}, FrozenMapping({"a": 1})),
    (Mapping[str, int], {}, FrozenMapping()),
    (Mapping[str, int], OrderedDict(a=1), FrozenMapping({"a": 1})),
    (Mapping[str, int], MappingProxyType({"a": 1}), FrozenMapping({"a": 1})),
    (
        Mapping[str, Any],
        {"a": [1, {"b": None}]},
        FrozenMapping({"a": (1, FrozenMapping({"b": None}))}),
    ),
    (Mapping[str, TokenSpec], {"a": SPEC}, FrozenMapping.of_frozen({"a": SPEC})),
    (Mapping[str, Colour], {"a": "red"}, FrozenMapping.of_frozen({"a": Colour.RED})),
    (TokenSpec, SPEC, SPEC),
    (TokenSpec | None, None, None),
    (tuple[TokenSpec, ...], [SPEC], (SPEC,)),
    (Any, "x", "x"),
    (Any, [1, [2]], (1, (2,))),
    (Any, {"a": {"b": 1}}, FrozenMapping({"a": FrozenMapping({"b": 1})})),
    (Annotated[int, at.Ge(1)], 1, 1),
    (Annotated[int, at.Gt(1)], 2, 2),
    (Annotated[int, at.Le(1)], 1, 1),
    (Annotated[int, at.Lt(1)], 0, 0),
    (Annotated[int, at.MultipleOf(8)], 16, 16),
    (Annotated[float, at.Interval(ge=0, le=1)], 1, 1.0),
    (Annotated[float, at.Interval(gt=0, lt=1)], 0.5, 0.5),
    (Annotated[int, at.Ge(1), at.Le(8), at.MultipleOf(2)], 8, 8),
    (Annotated[int | None, at.Ge(1)], None, None),
    (Annotated[str, at.MinLen(1)], "a", "a"),
    (Annotated[str, at.Len(2, 3)], "abc", "abc"),
    (Annotated[tuple[int, ...], at.MinLen(2)], [1, 2], (1, 2)),
    (Annotated[Sequence[Annotated[int, at.Ge(0)]], at.MaxLen(2)], [0], (0,)),
    (Annotated[Mapping[str, int], at.MinLen(1)], {"a": 1}, FrozenMapping({"a": 1})),
    (Annotated[str, at.Predicate(str.islower)], "a", "a"),
    (Annotated[int, "any other metadata", at.doc("is no bound")], 3, 3),
    (Annotated[Annotated[int, at.Ge(1)], at.Le(3)], 2, 2),
]

# what cattrs or Python would take for something else
REFUSED = [
    (bool, 1, "true or false, got 1"),
    (bool, 0, "true or false, got 0"),
    (bool, "false", "true or false, got 'false'"),
    (bool, None, "true or false, got None"),
    (bool, np.int64(1), "true or false, got np.int64(1)"),
    (int, "192", "an integer, got '192'"),
    (int, True, "an integer, got True"),
    (int, 3.7, "an integer, got 3.7"),
    (int, 3.0, "an integer, got 3.0"),
    (int, None, "an integer, got None"),
    (int, Whole(3), "an integer, got 3"),
    (int, np.float64(3), "an integer, got np.float64(3.0)"),
    (int, NAN, "an integer, got nan"),
    (float, "0.5", "a number, got '0.5'"),
    (float, False, "a number, got False"),
    (float, NAN, "a number, got nan"),
    (float, INFINITY, "a number, got inf"),
    (float, -INFINITY, "a number, got -inf"),
    (float, 10**400, f"a number, got 1{'0' * 55}...0"),
    (float, 2**53 + 1, "a number, got 9007199254740993"),
    (float, 1j, "a number, got 1j"),
    (float, Fraction(1, 2), "a number, got Fraction(1, 2)"),
    (str, 3, "text, got 3"),
    (str, None, "text, got None"),
    (str, b"a", "text, got b'a'"),
    (str, Text("a"), "text, got 'a'"),
    (str, Colour.RED, "text, got <Colour.RED: 'red'>"),
    (NoneType, 0, "None, got 0"),
    (NoneType, "", "None, got ''"),
    (int | None, "None", "an integer or None, got 'None'"),
    (int | str | None, 1.5, "an integer, text or None, got 1.5"),
    (Literal[1, 2], True, "1 or 2, got True"),
    (Literal[1, 2], 1.0, "1 or 2, got 1.0"),
    (Literal[True], 1, "True, got 1"),
    (Literal["a"], "b", "'a', got 'b'"),
    (Literal["a"], ["a"], "'a', got ['a']"),
    (Literal["a"], {"a": 1}, "'a', got {'a': 1}"),
    (Literal["red"], Colour.RED, "'red', got <Colour.RED: 'red'>"),
    (Colour, "green", "'red' or 'blue', got 'green'"),
    (Colour, "RED", "'red' or 'blue', got 'RED'"),
    (Level, True, "1 or 2, got True"),
    (tuple[int, ...], "123", "a list, each an integer, got '123'"),
    (tuple[int, ...], {1: 2}, "a list, each an integer, got {1: 2}"),
    (tuple[int, ...], {1}, "a list, each an integer, got {1}"),
    (tuple[int, ...], range(3), "a list, each an integer, got range(0, 3)"),
    (tuple[int, ...], 3, "a list, each an integer, got 3"),
    (tuple[int, ...], None, "a list, each an integer, got None"),
    (tuple[int, str], [1], "a list of 2: an integer, text, got [1]"),
    (tuple[int, str], [1, "a", 2], "a list of 2: an integer, text, got [1, 'a', 2]"),
    (tuple[str, str], "ab", "a list of 2: text, text, got 'ab'"),
    (Sequence[str], "abc", "a list, each text, got 'abc'"),
    (Mapping[str, int], [], "a mapping, each value an integer, got []"),
    (Mapping[str, int], "", "a mapping, each value an integer, got ''"),
    (Mapping[str, int], [("a", 1)], "a mapping, each value an integer, got [('a', 1)]"),
    (TokenSpec, {"name": "a", "size": 1}, "a TokenSpec, got {'name': 'a', 'size': 1}"),
    (TokenSpec, [], "a TokenSpec, got []"),
    (TokenSpec, "", "a TokenSpec, got ''"),
    (TokenSpec | None, 3, "a TokenSpec, got 3"),
    (Any, {1}, "plain data (text, finite number, boolean, None, list or mapping), got {1}"),
    (Any, NAN, "plain data (text, finite number, boolean, None, list or mapping), got nan"),
    (
        Any,
        SPEC,
        (
            "plain data (text, finite number, boolean, None, list or mapping), got "
            "TokenSpec(name='surface', size=7)"
        ),
    ),
    (Annotated[int, at.Ge(1)], 0, "an integer of at least 1, got 0"),
    (Annotated[int, at.Ge(1)], True, "an integer of at least 1, got True"),
    (Annotated[int, at.Gt(1)], 1, "an integer above 1, got 1"),
    (Annotated[int, at.Le(1)], 2, "an integer of at most 1, got 2"),
    (Annotated[int, at.Lt(1)], 1, "an integer below 1, got 1"),
    (Annotated[int, at.MultipleOf(8)], 12, "an integer that is a multiple of 8, got 12"),
    (Annotated[float, at.Interval(ge=0, le=1)], 1.5, "a number from 0 to 1, got 1.5"),
    (Annotated[float, at.Interval(ge=0, le=1)], -1, "a number from 0 to 1, got -1"),
    (Annotated[float, at.Interval(gt=0, lt=1)], 0.0, "a number above 0 below 1, got 0.0"),
    (Annotated[float, at.Interval(ge=0, lt=1)], NAN, "a number of at least 0 below 1, got nan"),
    (
        Annotated[int, at.Ge(1), at.Le(8), at.MultipleOf(2)],
        3,
        "an integer from 1 to 8 that is a multiple of 2, got 3",
    ),
    (Annotated[int | None, at.Ge(1)], 0, "an integer of at least 1 or None, got 0"),
    (
        Annotated[int | float, at.Ge(1)],
        0.5,
        "an integer of at least 1 or a number of at least 1, got 0.5",
    ),
    (Annotated[int, at.Ge(1)] | None, 0, "an integer of at least 1 or None, got 0"),
    (Annotated[str, at.MinLen(1)], "", "text that is not empty, got ''"),
    (Annotated[str, at.MinLen(2)], "a", "text of length 2 or more, got 'a'"),
    (Annotated[str, at.MaxLen(1)], "ab", "text of length 1 or less, got 'ab'"),
    (Annotated[str, at.Len(2, 2)], "a", "text of length 2, got 'a'"),
    (Annotated[str, at.Predicate(str.islower)], "A", "text that passes islower, got 'A'"),
    (
        Annotated[tuple[int, ...], at.MinLen(1)],
        [],
        "a list that is not empty, each an integer, got []",
    ),
    (
        Annotated[Mapping[str, int], at.MaxLen(0)],
        {"a": 1},
        "a mapping of length 0 or less, each value an integer, got {'a': 1}",
    ),
    (
        Annotated[Literal[False], Because("slices have no position")],
        True,
        "False, got True: slices have no position",
    ),
    (
        Annotated[int | None, at.Ge(1), Because("of taste")],
        0,
        "an integer of at least 1 or None, got 0: of taste",
    ),
    (
        Annotated[tuple[int, ...], at.MinLen(1), Distinct()],
        [],
        "a list that is not empty without repeats, each an integer, got []",
    ),
    (Annotated[int, at.Ge(1), at.Ge(5)], 3, "an integer of at least 5, got 3"),
    (Annotated[int, at.Ge(5), at.Ge(1)], 3, "an integer of at least 5, got 3"),
    (Annotated[int, at.Le(1), at.Le(5)], 3, "an integer of at most 1, got 3"),
]

# each problem with the path to it
REFUSED_WITHIN = [
    (tuple[int, ...], [1, "2", 3, True], [("[1]", "'2'"), ("[3]", "True")]),
    (tuple[int, str], ["a", 1], [("[0]", "'a'"), ("[1]", "1")]),
    (tuple[tuple[int, ...], ...], [[1], [2, "x"]], [("[1][1]", "'x'")]),
    (
        Mapping[str, int],
        {"a": 1, "b": "2", 3: 4, "c": None},
        [("b", "'2'"), ("[3]", "3"), ("c", "None")],
    ),
    (Mapping[str, tuple[int, ...]], {"a": [1, 2.5]}, [("a[1]", "2.5")]),
    (
        Mapping[str, Any],
        {"a": {"b": [1, {2}]}, "c": object},
        [("a.b[1]", "{2}"), ("c", "<class 'object'>")],
    ),
    (Mapping[str, int], {None: 1}, [("None", "None")]),
]


def test_a_whole_number_that_no_tensor_and_no_document_can_hold_is_refused():
    assert rule_for(int).check(2**63 - 1) == 2**63 - 1
    assert rule_for(int).check(-(2**63)) == -(2**63)
    for number, shown in (
        (2**63, "9223372036854775808"),
        (-(2**63) - 1, "-9223372036854775809"),
        (10**5000, "a value of"),
    ):
        with pytest.raises(
            ConfigError, match=rf"^expected an integer that fits into 64 bits, got {shown}"
        ):
            rule_for(int).check(number)
    with pytest.raises(
        ConfigError, match=r"^\[0\]: expected plain data .*, got a value of type int"
    ):
        rule_for(Any).check([10**4300])


def test_every_repeat_of_an_item_is_reported_beside_items_that_do_not_fit():
    with pytest.raises(ConfigError) as caught:
        rule_for(Annotated[tuple[int, ...], Distinct()]).check([3, "4", 3, 4, 3])
    assert [problem.headline for problem in caught.value.problems] == [
        "[1]: expected an integer, got '4'",
        "[2]: repeats 3, which stands at [0] already; leave one of them out",
        "[4]: repeats 3, which stands at [0] already; leave one of them out",
    ]


@pytest.mark.parametrize("annotation", [int, Mapping[str, int], tuple[int, int]])
def test_only_items_of_a_list_can_be_distinct(annotation):
    with pytest.raises(
        TypeError, match=r"takes no bounds|is no list, whose items could be distinct"
    ):
        rule_for(Annotated[annotation, Distinct()])


@pytest.mark.parametrize(("annotation", "value", "canonical"), ACCEPTED)
def test_a_value_that_fits_is_kept_in_its_canonical_form(annotation, value, canonical):
    checked = rule_for(annotation).check(value)
    assert checked == canonical
    assert type(checked) is type(canonical)
    assert repr(checked) == repr(canonical)


@pytest.mark.parametrize(("annotation", "value", "told"), REFUSED)
def test_a_value_that_does_not_fit_is_refused_and_never_turned_into_one_that_does(
    annotation, value, told
):
    with pytest.raises(ConfigError) as caught:
        rule_for(annotation).check(value)
    (problem,) = caught.value.problems
    assert problem.message == f"expected {told}"
    assert problem.value is value
    assert problem.keys == ()


@pytest.mark.parametrize(("annotation", "value", "places"), REFUSED_WITHIN)
def test_every_item_that_does_not_fit_is_reported_under_its_path(annotation, value, places):
    with pytest.raises(ConfigError) as caught:
        rule_for(annotation).check(value)
    assert [problem.path for problem in caught.value.problems] == [path for path, _ in places]
    for problem, (_, got) in zip(caught.value.problems, places, strict=True):
        assert problem.message.endswith(f"got {got}")


@pytest.mark.parametrize(
    ("annotation", "value", "suggestion"),
    [
        (Literal["sigmoid", "softplus"], "sigmiod", "did you mean 'sigmoid'?"),
        (Literal["GELU", "SILU"], "gelu", "did you mean 'GELU'?"),
        (Colour, "rad", "did you mean 'red'?"),
        (Literal["sigmoid"], "zzz", None),
        (Literal[1, 2], 3, None),
    ],
)
def test_a_misspelt_name_is_reported_with_the_nearest_one(annotation, value, suggestion):
    with pytest.raises(ConfigError) as caught:
        rule_for(annotation).check(value)
    assert caught.value.problems[0].suggestion == suggestion


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (list[int], r"no rule for the annotation list\[int\]"),
        (dict[str, int], r"no rule for the annotation dict\[str, int\]"),
        (set[int], "no rule for the annotation"),
        (list, "no rule for the annotation"),
        (tuple, "no rule for the annotation"),
        (tuple[()], "no rule for the annotation"),
        (Sequence, "no rule for the annotation"),
        (Mapping, "no rule for the annotation"),
        (bytes, "no rule for the annotation"),
        (complex, "no rule for the annotation"),
        (object, "no rule for the annotation"),
        (type, "no rule for the annotation"),
        ("int", "no rule for the annotation 'int'"),
        (Mapping[int, str], "keys of a mapping must be annotated as str"),
        (Mapping[str, list[int]], r"no rule for the annotation list\[int\]"),
        (tuple[set[int], ...], r"no rule for the annotation set\[int\]"),
        (int | bytes, "no rule for the annotation <class 'bytes'>"),
        (Annotated[bool, at.Ge(1)], "takes no bounds"),
        (Annotated[Any, at.MinLen(1)], "takes no bounds"),
        (Annotated[None, at.MinLen(1)], "takes no bounds"),
        (Annotated[Literal[1, 2], at.Ge(2)], "takes no bounds"),
        (Annotated[Literal["auto"] | int, at.Ge(2)], "takes no bounds"),
        (Annotated[Colour, at.MinLen(1)], "takes no bounds"),
        (Annotated[TokenSpec, at.MinLen(1)], "takes no bounds"),
        (Annotated[tuple[int, int], at.MinLen(2)], "takes no bounds"),
        (Annotated[int, at.Timezone(None)], "the bound Timezone.* is not understood"),
    ],
)
def test_an_annotation_that_cannot_be_checked_in_full_is_refused(annotation, reason):
    with pytest.raises(TypeError, match=reason):
        rule_for(annotation)


@pytest.mark.parametrize(
    ("annotation", "sound", "unsound"),
    [
        (at.IsNotNan[float], 1.0, None),
        (Annotated[int, at.Predicate(functools.partial(int.__lt__, 3))], 4, 3),
        (Annotated[int, at.Predicate(lambda value: value == 7)], 7, 8),
        (at.LowerCase[str], "a", "A"),
    ],
)
def test_any_predicate_can_bound_a_field_whatever_its_name(annotation, sound, unsound):
    rule = rule_for(annotation)
    assert rule.check(sound) == sound
    with pytest.raises(ConfigError, match="that passes"):
        rule.check(unsound)


@pytest.mark.parametrize("levels", [2, 100_000])
def test_data_nested_without_end_is_refused_and_never_a_recursion_error(levels):
    endless: dict[str, Any] = {}
    endless["again"] = endless
    deep: Any = 1
    for _ in range(levels):
        deep = [deep]
    rule = rule_for(Any)
    with pytest.raises(ConfigError, match="expected plain data of fewer levels"):
        rule.check(endless)
    if levels > 2:
        with pytest.raises(
            ConfigError, match="expected plain data of fewer levels, got a value of type list"
        ):
            rule.check(deep)


def test_what_is_checked_cannot_be_changed_through_the_value_it_was_made_from():
    inner, outer = [1], {"a": 1}
    checked = rule_for(Mapping[str, Any]).check({"inner": inner, "outer": outer})
    inner.append(2)
    outer["b"] = 2
    assert checked == FrozenMapping({"inner": [1], "outer": {"a": 1}})


def test_a_rule_says_in_words_what_it_accepts():
    assert rule_for(Annotated[int, at.Ge(1)]).expected == "an integer of at least 1"
    assert rule_for(Literal["a", "b", "c"]).expected == "'a', 'b' or 'c'"
    assert rule_for(tuple[TokenSpec, ...]).expected == "a list, each a TokenSpec"


def test_schemas_are_known_from_other_classes_however_deep_they_stand():
    @attrs.frozen
    class Stranger:
        size: int

    assert is_schema(TokenSpec)
    assert is_schema(Schema)
    assert not is_schema(Stranger)
    assert not is_schema(SPEC)
    assert holds_schema(Annotated[Mapping[str, tuple[TokenSpec, ...]] | None, at.MinLen(1)])
    assert not holds_schema(Mapping[str, tuple[int, ...]])
