"""Paths into documents: to configs within larger ones, and to values that are overridden."""

from typing import Annotated

import attrs
import pytest
from annotated_types import Ge

from noether_core import ConfigError, Problem, TokenSpec, load
from noether_core.schemas import Schema
from noether_core.structuring.documents import parse
from noether_core.structuring.paths import DocumentPath, override

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
    found, problems = DocumentPath(path).find(DATA)
    assert problems == []
    assert [item.keys for item in found] == keys
    for item in found:
        value = DATA
        for key in item.keys:
            value = value[key]
        assert item.value is value


def test_a_path_may_begin_with_a_position():
    found, _ = DocumentPath("[1][0].a").find([0, [{"a": 5}]])
    assert [(item.keys, item.value) for item in found] == [((1, 0, "a"), 5)]


@pytest.mark.parametrize(
    ("path", "headlines"),
    [
        ("modle", ["modle: nothing stands here; did you mean 'model'?"]),
        ("model.attention.type.x", ["model.attention.type.x: nothing stands here"]),
        ("model.blocks[2]", ["model.blocks[2]: nothing stands here; model.blocks is a list of 2"]),
        ("model.blocks.0", ["model.blocks.0: nothing stands here; write model.blocks[0]"]),
        ("model[0]", ["model[0]: nothing stands here; model is no list"]),
        ("[0]", ["[0]: nothing stands here; the document is no list"]),
        (
            "model.*.attention",
            [f"model.{name}.attention: nothing stands here" for name in ("attention", "blocks")],
        ),
        ("7.*", ["7: holds neither names nor positions"]),
    ],
)
def test_each_way_that_ends_before_is_reported(path, headlines):
    found, problems = DocumentPath(path).find(DATA)
    assert found == []
    assert [problem.headline for problem in problems] == headlines


@pytest.mark.parametrize("empty", [[], {}])
def test_of_nothing_there_is_nothing(empty):
    found, problems = DocumentPath("a[*]").find({"a": empty})
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
def test_what_is_no_path_is_refused_with_its_location(path, at):
    with pytest.raises(ValueError, match=rf"is no path from character {at} on"):
        DocumentPath(path)


TEXT = """\
attention: {type: flare, num_heads: 2}
blocks: [{depth: 1}, {depth: 2}]
"""


def data_with(*assignments):
    return override(parse(TEXT, "yaml"), assignments).data


@pytest.mark.parametrize(
    ("assignment", "keys", "value"),
    [
        ("attention.num_heads=4", ("attention", "num_heads"), 4),
        ("attention.dropout=1e-3", ("attention", "dropout"), 0.001),
        ("attention.bias=false", ("attention", "bias"), False),
        ("attention.name='4'", ("attention", "name"), "4"),
        ("attention.name=a=b", ("attention", "name"), "a=b"),
        ("attention.kv_dim=null", ("attention", "kv_dim"), None),
        ("attention.kv_dim=", ("attention", "kv_dim"), None),
        ("attention.branches=[a, b]", ("attention", "branches"), ["a", "b"]),
        ("attention={type: mixed}", ("attention",), {"type": "mixed"}),
        ("blocks[1].depth=7", ("blocks", 1, "depth"), 7),
        ("model.depth=6", ("model", "depth"), 6),
        ("a.b.c=1", ("a", "b", "c"), 1),
    ],
)
def test_a_value_is_replaced_or_added(assignment, keys, value):
    expected, found = parse(TEXT, "yaml").data, data_with(assignment)
    for key in keys:
        found = found[key]
    assert found == value
    assert type(found) is type(value)
    assert data_with(assignment) != expected


def test_all_else_stays():
    expected = parse(TEXT, "yaml").data
    expected["attention"]["num_heads"] = 4
    assert data_with("attention.num_heads=4") == expected


def test_a_later_assignment_goes_first():
    assert data_with("a=1", "a=2")["a"] == 2
    assert data_with("a.b=1", "a={c: 2}")["a"] == {"c": 2}


def test_an_empty_document_can_be_filled():
    assert override(parse("", "yaml"), ["a.b=1"]).data == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("assignment", "headline"),
    [
        ("num_heads", "command line: expected PATH=VALUE, got 'num_heads'; such as model.depth=6"),
        (3, "command line: expected PATH=VALUE, got 3; such as model.depth=6"),
        ("blocks[5].depth=1", "command line: blocks[5]: there is no such position to override"),
        ("attention[0]=1", "command line: attention[0]: there is no such position to override"),
        ("attention.type.x=1", "command line: attention.type.x: leads through what is no mapping"),
        ("blocks.depth=1", "command line: blocks.depth: leads through what is no mapping"),
        (
            "blocks[*].depth=1",
            "command line: 'blocks[*].depth' leads to several values; name one of them",
        ),
        ("=1", "command line: '' is no path from character 1 on"),
    ],
)
def test_what_is_no_assignment_is_reported(assignment, headline):
    with pytest.raises(ConfigError) as caught:
        data_with(assignment)
    (problem,) = caught.value.problems
    assert problem.headline.startswith(headline)


def test_a_value_that_cannot_be_read_is_reported_under_its_path():
    with pytest.raises(ConfigError) as caught:
        data_with("attention.branches=[a")
    (problem,) = caught.value.problems
    assert problem.path == "attention.branches"
    assert problem.file == "command line"


def test_every_wrong_assignment_is_reported():
    with pytest.raises(ConfigError) as caught:
        data_with("a", "b", "c=1")
    assert len(caught.value.problems) == 2


@attrs.frozen(kw_only=True)
class Model(Schema):
    depth: Annotated[int, Ge(1)]
    width: Annotated[int, Ge(1)] = 8


@attrs.frozen(kw_only=True)
class Experiment(Schema):
    model: Model
    blocks: tuple[Model, ...] = ()


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("model={depth: 0}", "model.depth"),
        ("model.depth=0", "model.depth"),
        ("model={}", "model.depth"),
        ("model={depth: 1, dept: 2}", "model.dept"),
        ("blocks=[{depth: 3}, {depth: 0}]", "blocks[1].depth"),
        ("blocks[0]={depth: 0}", "blocks[0].depth"),
        ("blocks[0].depth=0", "blocks[0].depth"),
    ],
)
def test_a_problem_within_an_override_is_placed_there_under_its_own_path(tmp_path, override, path):
    file = tmp_path / "experiment.yaml"
    file.write_text("model: {depth: 1}\nblocks: [{depth: 1}, {depth: 1}]\n")
    with pytest.raises(ConfigError) as caught:
        load(file, Experiment, overrides=[override])
    (problem,) = caught.value.problems
    assert (problem.path, problem.file, problem.line) == (path, "command line", None)


@pytest.mark.parametrize("override", ["model.width=7", "blocks[1]={depth: 7}"])
def test_a_problem_beside_an_override_is_placed_in_the_file(tmp_path, override):
    file = tmp_path / "experiment.yaml"
    file.write_text("model: {depth: 0}\nblocks: [{depth: 0}, {depth: 0}]\n")
    with pytest.raises(ConfigError) as caught:
        load(file, Experiment, overrides=[override])
    model, block, *_ = caught.value.problems
    assert (model.path, model.location) == ("model.depth", f"{file}:1:16")
    assert (block.path, block.location) == ("blocks[0].depth", f"{file}:2:18")


def test_problems_are_placed_at_the_command_line_or_in_the_file(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text("name: ''\nsize: 3\n")
    with pytest.raises(ConfigError) as caught:
        load(path, TokenSpec, overrides=["size=-1", "sise=2"])
    told = {problem.path: (problem.file, problem.line) for problem in caught.value.problems}
    assert told == {
        "name": (str(path), 1),
        "size": ("command line", None),
        "sise": ("command line", None),
    }


def test_overridden_values_make_the_config(tmp_path):
    path = tmp_path / "attention.yaml"
    path.write_text("type: transolver\nhidden_dim: 8\nnum_heads: 2\n")
    config = load(path, overrides=["type=flare", "num_latents=3"])
    assert (config.type, config.num_latents) == ("flare", 3)


@pytest.mark.parametrize(
    ("assignment", "path"),
    [
        ("a." * 1_000 + "a=1", ""),
        ("a" + "[0]" * 1_000 + "=1", ""),
        ("a." * 40 + "b=" + "[" * 30 + "]" * 30, ".".join("a" * 40) + ".b"),
    ],
)
def test_an_override_stands_no_deeper_than_documents_go(assignment, path):
    with pytest.raises(ConfigError) as caught:
        override(parse("{}", "yaml"), [assignment])

    (problem,) = caught.value.problems
    assert (problem.message, problem.file, problem.path) == (
        "mappings and lists stand more than 64 deep in each other",
        "command line",
        path,
    )


def test_an_override_may_stand_as_deep_as_documents_go():
    keys = ".".join("a" * 64)
    data = override(parse("{}", "yaml"), [f"{keys}=1"]).data

    assert [found.value for found in DocumentPath(keys).find(data)[0]] == [1]


@pytest.mark.parametrize("path", ["model.bogus", "model.bogus.x.y", "model.blocks[0].bogus.x"])
def test_what_an_override_made_on_its_way_is_placed_at_the_command_line(path):
    document = override(parse("model: {depth: 1, blocks: [{a: 1}]}", "yaml"), [f"{path}=1"])
    above = ("model", "blocks", 0) if "blocks" in path else ("model",)
    placed = document.locate(Problem(message="unknown", keys=(*above, "bogus")))
    assert (placed.file, placed.line) == ("command line", None)
    assert document.locate(Problem(message="wrong", keys=above)).line == 1
