"""Values that replace those of a document."""

import pytest

from noether_core import ConfigError, TokenSpec, load
from noether_core.structuring.documents import parse
from noether_core.structuring.paths import override

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
def test_what_is_no_assignment_is_told(assignment, headline):
    with pytest.raises(ConfigError) as caught:
        data_with(assignment)
    (problem,) = caught.value.problems
    assert problem.headline.startswith(headline)


def test_a_value_that_cannot_be_read_is_told_under_its_path():
    with pytest.raises(ConfigError) as caught:
        data_with("attention.branches=[a")
    (problem,) = caught.value.problems
    assert problem.path == "attention.branches"
    assert problem.file == "command line"


def test_every_wrong_assignment_is_told():
    with pytest.raises(ConfigError) as caught:
        data_with("a", "b", "c=1")
    assert len(caught.value.problems) == 2


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
