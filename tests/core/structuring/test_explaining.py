"""Each option of a config, and where its value comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import pytest

from noether_core.schemas import Schema
from noether_core.structuring.documents import parse
from noether_core.structuring.explaining import options_of
from noether_core.structuring.paths import override
from noether_core.structuring.structure import structured


@attrs.frozen(kw_only=True)
class Wall(Schema):
    """A wall."""

    renamed_options: ClassVar[Mapping[str, str]] = {"rough": "roughness"}

    roughness: float = 0.5
    """How rough it is."""

    name: str | None = None
    """What it is called; None for the number of the wall."""

    @property
    def area(self) -> float:
        """Area of the wall."""
        return self.roughness * 2

    @property
    def shape(self) -> object:
        """No plain data."""
        return object()


@attrs.frozen(kw_only=True)
class Flow(Schema):
    """Walls."""

    wall: Wall = Wall()
    """The first."""

    others: tuple[Wall, ...] = ()
    """More."""

    by_name: Mapping[str, Wall] = {}
    """And more."""

    numbers: tuple[int, ...] = (1, 2)
    """Some numbers."""

    facts: Mapping[str, Any] = {}
    """Anything."""


def explained(text, *overrides, format="yaml", cls=Flow):
    document = parse(text, format, file="flow")
    if overrides:
        document = override(document, overrides)
    config, _ = structured(document.data, cls)
    return {option.path: option for option in options_of(config, document)}


def place(option):
    return option.source, option.line, option.column


@pytest.mark.parametrize(
    ("format", "text", "line", "column"),
    [
        ("yaml", "wall:\n  roughness: 0.25\n", 2, 14),
        ("toml", "[wall]\nroughness = 0.25\n", 2, 13),
        ("json", '{"wall":\n {"roughness": 0.25}}', 2, 16),
    ],
)
def test_a_value_of_a_file_has_its_place(format, text, line, column):
    found = explained(text, format=format)["wall.roughness"]
    assert (found.value, found.file, found.help) == (0.25, "flow", "How rough it is.")
    assert place(found) == ("file", line, column)


def test_what_no_file_says_is_a_default_and_so_are_options_of_a_config_that_is_none():
    found = explained("wall: {roughness: 0.25}\n")
    assert place(found["numbers"]) == ("default", None, None)
    assert (found["numbers"].value, found["wall.name"].source) == ((1, 2), "default")
    assert explained("{}")["wall.roughness"].source == "default"


def test_none_says_what_it_stands_for():
    found = explained("{}")
    assert found["wall.name"].none_means == "the number of the wall"
    assert found["wall.roughness"].none_means == ""


def test_a_value_of_the_command_line_is_an_override_and_what_stands_beside_it_is_not():
    found = explained("wall: {name: a}\n", "wall.roughness=0.75", "numbers=[3]")
    assert (found["wall.roughness"].value, found["wall.roughness"].source) == (0.75, "override")
    assert place(found["wall.name"]) == ("file", 1, 14)
    assert (found["numbers"].value, found["numbers"].source) == ((3,), "override")


def test_a_list_of_which_one_item_is_overridden_is_told_item_by_item():
    found = explained("numbers: [3, 5]\n", "numbers[1]=7")
    assert place(found["numbers[0]"]) == ("file", 1, 11)
    assert (found["numbers[1]"].value, found["numbers[1]"].source) == (7, "override")
    assert "numbers" not in found


def test_configs_in_lists_and_mappings_have_options_of_their_own():
    text = "others:\n- name: a\n- {roughness: 1.5}\nby_name:\n  left: {name: b}\nfacts: {a: [1]}\n"
    found = explained(text)
    assert place(found["others[0].name"]) == ("file", 2, 9)
    assert place(found["others[1].roughness"]) == ("file", 3, 15)
    assert found["others[0].roughness"].source == "default"
    assert place(found["by_name.left.name"]) == ("file", 5, 16)
    assert dict(found["facts"].value) == {"a": (1,)}


def test_an_old_name_is_named_and_so_is_the_place_that_it_has():
    found = explained("wall:\n  rough: 0.25\nothers:\n- rough: 0.125\n")
    assert place(found["wall.roughness"]) == ("file", 2, 10)
    assert found["wall.roughness"].written_as == "rough"
    assert place(found["others[0].roughness"]) == ("file", 4, 10)
    assert found["wall.name"].written_as == ""


def test_what_follows_from_options_names_them_and_what_is_no_plain_data_is_left_out():
    found = explained("wall: {roughness: 0.25}\n")["wall.area"]
    assert (found.value, found.source, found.derived_from) == (0.5, "derived", ("roughness",))
    assert found.help == "Area of the wall."
    assert "wall.shape" not in explained("{}")


def test_what_an_anchor_names_stands_at_the_anchor_and_a_value_that_is_an_alias_at_the_alias():
    text = "facts: {base: &b {roughness: 0.25}, n: &n c}\nwall: {<<: *b, name: *n}\nothers: [*b]\n"
    found = explained(text)
    assert place(found["wall.roughness"]) == ("file", 1, 30)
    assert place(found["others[0].roughness"]) == ("file", 1, 30)
    assert place(found["wall.name"]) == ("file", 2, 22)


@pytest.mark.parametrize(
    ("text", "source", "line"),
    [
        ("type: linear\nhidden_dim: 8\nnum_heads: 2\n", "derived", None),
        ("type: linear\nhidden_dim: 8\nnum_heads: 2\nhead_dim: 4\n", "file", 4),
    ],
)
def test_the_width_of_heads_follows_from_others_given_or_not(text, source, line):
    from noether_core.schemas.modules.attention import AttentionConfig

    found = explained(text, cls=AttentionConfig)
    assert next(iter(found)) == "type"
    width = found["head_dim"]
    assert (width.value, width.source, width.line) == (4, source, line)
    assert width.derived_from == ("hidden_dim", "num_heads")
