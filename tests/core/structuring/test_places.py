"""Paths to configs within larger documents."""

import pytest

from noether_core.errors import MOST_PROBLEMS
from noether_core.structuring.documents import parse
from noether_core.structuring.load import check_placed
from noether_core.structuring.paths import Place

DATA = {
    "model": {"attention": {"type": "a"}, "blocks": [{"attention": 1}, {"attention": 2}]},
    "7": "a name",
    "*": "a star",
}


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("model", [("model",)]),
        ("model.attention", [("model", "attention")]),
        ("model.attention.type", [("model", "attention", "type")]),
        ("model.blocks[1].attention", [("model", "blocks", 1, "attention")]),
        (
            "model.blocks[*].attention",
            [("model", "blocks", 0, "attention"), ("model", "blocks", 1, "attention")],
        ),
        (
            "model.blocks.*.attention",
            [("model", "blocks", 0, "attention"), ("model", "blocks", 1, "attention")],
        ),
        ("*", [("model",), ("7",), ("*",)]),
        ("[*]", [("model",), ("7",), ("*",)]),
        ("7", [("7",)]),
    ],
)
def test_a_path_leads_to_values(path, keys):
    found, problems = Place(path).find(DATA)
    assert problems == []
    assert [placed.keys for placed in found] == keys
    for placed in found:
        value = DATA
        for key in placed.keys:
            value = value[key]
        assert placed.value is value


def test_a_path_may_begin_with_a_position():
    found, _ = Place("[1][0].a").find([0, [{"a": 5}]])
    assert [tuple(placed) for placed in found] == [((1, 0, "a"), 5)]


@pytest.mark.parametrize(
    ("path", "headlines"),
    [
        ("modle", ["modle: nothing stands here; did you mean 'model'?"]),
        ("model.attention.type.x", ["model.attention.type.x: nothing stands here"]),
        ("model.blocks[2]", ["model.blocks[2]: nothing stands here; model.blocks is a list of 2"]),
        ("model[0]", ["model[0]: nothing stands here; model is no list"]),
        ("[0]", ["[0]: nothing stands here; the document is no list"]),
        (
            "model.*.attention",
            [f"model.{name}.attention: nothing stands here" for name in ("attention", "blocks")],
        ),
        ("7.*", ["7: holds neither names nor positions"]),
    ],
)
def test_each_way_that_ends_before_is_told(path, headlines):
    found, problems = Place(path).find(DATA)
    assert found == []
    assert [problem.headline for problem in problems] == headlines


@pytest.mark.parametrize("empty", [[], {}])
def test_of_nothing_there_is_nothing(empty):
    found, problems = Place("a[*]").find({"a": empty})
    assert found == []
    assert [problem.headline for problem in problems] == ["nothing stands at a[*]"]


@pytest.mark.parametrize(
    ("path", "at"),
    [
        ("", 1),
        (".a", 1),
        ("a.", 2),
        ("a..b", 2),
        ("a[", 2),
        ("a[x]", 2),
        ("a[-1]", 2),
        ("a]b", 2),
        ("a[1]b", 5),
    ],
)
def test_what_is_no_path_is_refused_with_its_place(path, at):
    with pytest.raises(ValueError, match=rf"is no path from character {at} on"):
        Place(path)


def test_a_file_with_more_problems_than_are_told_is_not_looked_at_to_its_end():
    text = "blocks:\n" + "- {type: flare}\n" * 3_000
    checked = check_placed(parse(text, "yaml"), Place("blocks[*]"))
    assert len(checked) < 300
    assert sum(len(each.problems) for each in checked) < MOST_PROBLEMS + 10
    (last,) = checked[-1].problems
    assert (
        last.message == "there are more than 500 problems; what stands behind this is not looked at"
    )
    assert last.line == len(checked)
