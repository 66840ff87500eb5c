"""Plain data that cannot change."""

from __future__ import annotations

import copy
import enum
import pickle
from collections import OrderedDict
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noether_core.errors import ConfigError
from noether_core.schemas import FrozenMapping, TokenSpec
from noether_core.schemas.frozen_mapping import EMPTY, freeze

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
plain_data = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=9,
)
mappings = st.dictionaries(st.text(), plain_data, max_size=5)


class Colour(enum.Enum):
    RED = "red"


def thawed(value):
    if isinstance(value, FrozenMapping):
        return {key: thawed(item) for key, item in value.items()}
    return [thawed(item) for item in value] if isinstance(value, tuple) else value


@given(mappings)
def test_it_holds_what_it_was_made_from(items):
    mapping = FrozenMapping(items)
    assert thawed(mapping) == items
    assert list(mapping) == list(items)
    assert len(mapping) == len(items)


@given(mappings, st.randoms())
def test_equal_mappings_have_one_hash_whatever_their_order(items, random):
    keys = list(items)
    random.shuffle(keys)
    mapping, shuffled = FrozenMapping(items), FrozenMapping({key: items[key] for key in keys})
    assert mapping == shuffled
    assert hash(mapping) == hash(shuffled)


@given(mappings)
def test_it_survives_pickle_and_copy(items):
    mapping = FrozenMapping(items)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(mapping, protocol)) == mapping  # noqa: S301
    assert copy.copy(mapping) == copy.deepcopy(mapping) == mapping
    assert hash(copy.deepcopy(mapping)) == hash(mapping)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_configs_and_enums_in_it_survive_pickle_and_copy(protocol):
    mapping = FrozenMapping.of_frozen({"spec": TokenSpec("a", 3), "colour": Colour.RED})
    pickled = pickle.loads(pickle.dumps(mapping, protocol))  # noqa: S301
    for again in (pickled, copy.copy(mapping), copy.deepcopy(mapping)):
        assert again == mapping
        assert hash(again) == hash(mapping)
        assert again["colour"] is Colour.RED


def test_it_never_changes():
    items = {"a": [1], "b": {"c": 2}}
    mapping = FrozenMapping(items)
    items["a"].append(2)
    items["b"]["d"] = 3
    items["e"] = 4
    assert mapping == FrozenMapping({"a": [1], "b": {"c": 2}})
    with pytest.raises(TypeError):
        mapping["a"] = 1
    with pytest.raises(TypeError):
        del mapping["a"]
    with pytest.raises(AttributeError):
        mapping.unknown = 1


def test_it_differs_from_other_items_and_other_kinds():
    mapping = FrozenMapping({"a": 1})
    assert mapping != FrozenMapping({"a": 2})
    assert mapping != FrozenMapping({"b": 1})
    assert mapping != {"a": 1}
    assert mapping != [("a", 1)]


def test_a_mapping_of_any_kind_is_frozen_all_the_way_down():
    source = OrderedDict(a=MappingProxyType({"b": [{"c": (1, [2])}]}))
    frozen = FrozenMapping(source)
    assert type(frozen["a"]) is FrozenMapping
    assert frozen["a"]["b"] == (FrozenMapping({"c": (1, (2,))}),)
    assert freeze(frozen) is frozen


def test_its_text_reads_as_its_making():
    assert repr(FrozenMapping({"a": [1]})) == "FrozenMapping({'a': (1,)})"
    assert EMPTY == FrozenMapping() == FrozenMapping({})


@pytest.mark.parametrize(
    ("items", "places"),
    [
        ({"a": {1}}, ["a"]),
        ({"a": [1, {"b": object}], "c": b""}, ["a[1].b", "c"]),
        ({1: 2}, [""]),
        ({"a": {1: 2, None: b""}}, ["a", "a", "a.None"]),
        ({"a": float("nan"), "b": float("inf")}, ["a", "b"]),
        ({"a": Colour.RED}, ["a"]),
        ({"a": TokenSpec("a", 3)}, ["a"]),
    ],
)
def test_everything_that_is_no_plain_data_is_reported_under_its_path(items, places):
    with pytest.raises(ConfigError) as caught:
        FrozenMapping(items)
    assert [problem.path for problem in caught.value.problems] == places
    assert str(caught.value)
