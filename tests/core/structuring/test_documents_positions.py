"""Every key and value of a document is found where it stands."""

import pytest

from noether_core.errors import Problem
from noether_core.structuring.documents import parse
from tests.core.structuring.corpus import paths

YAML = """\
# a comment: not: a key
type: mixed
"größe 😀": 0x10
patterns:
  - queries: [surface, 'volume']
    keys: {from: "a # b", to: [1, 2.5]}
  -
    queries: []
    keys: &k
      from: |
        several
        lines
      to: ~
model: {attention: {type: x,
    bias: true}}
? far
: - - 1
again: *k
empty:
"""

YAML_PLACES = {
    (): ((2, 1), (2, 1)),
    ("type",): ((2, 1), (2, 7)),
    ("größe 😀",): ((3, 1), (3, 12)),
    ("patterns",): ((4, 1), (5, 3)),
    ("patterns", 0): ((5, 5), (5, 5)),
    ("patterns", 0, "queries"): ((5, 5), (5, 14)),
    ("patterns", 0, "queries", 0): ((5, 15), (5, 15)),
    ("patterns", 0, "queries", 1): ((5, 24), (5, 24)),
    ("patterns", 0, "keys"): ((6, 5), (6, 11)),
    ("patterns", 0, "keys", "from"): ((6, 12), (6, 18)),
    ("patterns", 0, "keys", "to"): ((6, 27), (6, 31)),
    ("patterns", 0, "keys", "to", 0): ((6, 32), (6, 32)),
    ("patterns", 0, "keys", "to", 1): ((6, 35), (6, 35)),
    ("patterns", 1): ((8, 5), (8, 5)),
    ("patterns", 1, "queries"): ((8, 5), (8, 14)),
    ("patterns", 1, "keys"): ((9, 5), (9, 11)),
    ("patterns", 1, "keys", "from"): ((10, 7), (10, 13)),
    ("patterns", 1, "keys", "to"): ((13, 7), (13, 11)),
    ("model",): ((14, 1), (14, 8)),
    ("model", "attention"): ((14, 9), (14, 20)),
    ("model", "attention", "type"): ((14, 21), (14, 27)),
    ("model", "attention", "bias"): ((15, 5), (15, 11)),
    ("far",): ((16, 3), (17, 3)),
    ("far", 0): ((17, 5), (17, 5)),
    ("far", 0, 0): ((17, 7), (17, 7)),
    ("again",): ((18, 1), (18, 8)),
    ("again", "from"): ((10, 7), (10, 13)),
    ("again", "to"): ((13, 7), (13, 11)),
    ("empty",): ((19, 1), (19, 7)),
}

TOML = """\
# a comment = 1
type = "mixed"  # [no.table]
"größe 😀" = 0x10
text = \"\"\"
[not.a.table]
a = "1" \\\"\"\" b = 2\"\"\"\"
raw = ['''
[x] '' ''', \"\"\"
[y] \"\"\"\"\", 3]
model.attention . "type" = 'x # y'
model.depth = 6

[data]
split = [0.8, # one
  [1, {a.b = 2}],
]
inline = {x = 1, y.z = [ ], "a\\u0062" = "}"}

[training.schedule]
lr = 1e-3
inf = -inf
[training]
steps = 1_000

[[patterns]]
queries = ["a", "b"]
[patterns.keys]
from = 1
[[patterns]]
[[patterns.inner]]
deep = true
"""

TOML_PLACES = {
    (): ((2, 1), (2, 1)),
    ("type",): ((2, 1), (2, 8)),
    ("größe 😀",): ((3, 1), (3, 13)),
    ("text",): ((4, 1), (4, 8)),
    ("raw",): ((7, 1), (7, 7)),
    ("raw", 0): ((7, 8), (7, 8)),
    ("raw", 1): ((8, 13), (8, 13)),
    ("raw", 2): ((9, 12), (9, 12)),
    ("model",): ((10, 1), (10, 1)),
    ("model", "attention"): ((10, 7), (10, 7)),
    ("model", "attention", "type"): ((10, 19), (10, 28)),
    ("model", "depth"): ((11, 7), (11, 15)),
    ("data",): ((13, 2), (13, 2)),
    ("data", "split"): ((14, 1), (14, 9)),
    ("data", "split", 0): ((14, 10), (14, 10)),
    ("data", "split", 1): ((15, 3), (15, 3)),
    ("data", "split", 1, 0): ((15, 4), (15, 4)),
    ("data", "split", 1, 1): ((15, 7), (15, 7)),
    ("data", "split", 1, 1, "a"): ((15, 8), (15, 8)),
    ("data", "split", 1, 1, "a", "b"): ((15, 10), (15, 14)),
    ("data", "inline"): ((17, 1), (17, 10)),
    ("data", "inline", "x"): ((17, 11), (17, 15)),
    ("data", "inline", "y"): ((17, 18), (17, 18)),
    ("data", "inline", "y", "z"): ((17, 20), (17, 24)),
    ("data", "inline", "ab"): ((17, 29), (17, 41)),
    ("training",): ((19, 2), (19, 2)),
    ("training", "schedule"): ((19, 11), (19, 11)),
    ("training", "schedule", "lr"): ((20, 1), (20, 6)),
    ("training", "schedule", "inf"): ((21, 1), (21, 7)),
    ("training", "steps"): ((23, 1), (23, 9)),
    ("patterns",): ((25, 3), (25, 3)),
    ("patterns", 0): ((25, 1), (25, 1)),
    ("patterns", 0, "queries"): ((26, 1), (26, 11)),
    ("patterns", 0, "queries", 0): ((26, 12), (26, 12)),
    ("patterns", 0, "queries", 1): ((26, 17), (26, 17)),
    ("patterns", 0, "keys"): ((27, 11), (27, 11)),
    ("patterns", 0, "keys", "from"): ((28, 1), (28, 8)),
    ("patterns", 1): ((29, 1), (29, 1)),
    ("patterns", 1, "inner"): ((30, 12), (30, 12)),
    ("patterns", 1, "inner", 0): ((30, 1), (30, 1)),
    ("patterns", 1, "inner", 0, "deep"): ((31, 1), (31, 8)),
}

JSON = """\
 {"type": "mixed",
  "größe 😀" : 16, "a\\u0062": "}\\"]",
  "list": [1, [true, {"x": null}],
    []],
  "model": {"depth":6,"":-1e-3}
}
"""

JSON_PLACES = {
    (): ((1, 2), (1, 2)),
    ("type",): ((1, 3), (1, 11)),
    ("größe 😀",): ((2, 3), (2, 15)),
    ("ab",): ((2, 19), (2, 30)),
    ("list",): ((3, 3), (3, 11)),
    ("list", 0): ((3, 12), (3, 12)),
    ("list", 1): ((3, 15), (3, 15)),
    ("list", 1, 0): ((3, 16), (3, 16)),
    ("list", 1, 1): ((3, 22), (3, 22)),
    ("list", 1, 1, "x"): ((3, 23), (3, 28)),
    ("list", 2): ((4, 5), (4, 5)),
    ("model",): ((5, 3), (5, 12)),
    ("model", "depth"): ((5, 13), (5, 21)),
    ("model", ""): ((5, 23), (5, 26)),
}

EXAMPLES = {"yaml": (YAML, YAML_PLACES), "toml": (TOML, TOML_PLACES), "json": (JSON, JSON_PLACES)}
FORMATS = tuple(EXAMPLES)


def place(document, keys, *, at_key=False):
    problem = document.locate(Problem(message="wrong", keys=keys, at_key=at_key))
    return problem.line, problem.column


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_key_and_value_is_found_where_it_stands(format, newline, mark):
    text, places = EXAMPLES[format]
    document = parse(mark + text.replace("\n", newline), format)

    found = {
        keys: (place(document, keys, at_key=True), place(document, keys))
        for keys in paths(document.data)
    }

    assert found == places


@pytest.mark.parametrize("format", FORMATS)
def test_the_line_is_shown_as_it_stands(format):
    text, places = EXAMPLES[format]
    document = parse(text, format, file="some file")

    for keys, (_, (line, column)) in places.items():
        problem = document.locate(Problem(message="wrong", keys=keys))
        assert (problem.file, problem.source) == ("some file", text.split("\n")[line - 1])
        assert column <= len(problem.source) + 1


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("yaml", "model:\n  attention:\n    type: x\n"),
        ("toml", "\nmodel.attention = {type = 'x'}"),
        ("json", '{"model":\n{ "attention": {"type": "x"}}}'),
    ],
)
def test_a_missing_option_is_placed_at_the_key_of_its_mapping(format, text):
    document = parse(text, format)
    key = (2, text.split("\n")[1].index("attention") + (0 if format == "json" else 1))

    assert place(document, ("model", "attention", "hidden_dim")) == key
    assert place(document, ("model", "attention", "patterns", 0, "keys")) == key
    assert place(document, ("model", "attention", "type", "deeper")) != key


@pytest.mark.parametrize(
    ("format", "text", "expected"),
    [
        ("yaml", "\n# note\na: 1", (3, 1)),
        ("toml", "\n# note\na = 1", (3, 1)),
        ("json", '\n\n{"a": 1}', (3, 1)),
        ("yaml", "", (1, 1)),
        ("toml", "", (1, 1)),
    ],
)
def test_a_missing_option_of_the_whole_config_is_placed_at_its_start(format, text, expected):
    assert place(parse(text, format), ("type",)) == expected


def test_a_missing_option_of_a_list_item_is_placed_at_the_item():
    document = parse("blocks:\n  - depth: 1\n  - depth: 2\n", "yaml")

    assert place(document, ("blocks", 1, "type")) == (3, 5)


def test_a_problem_that_has_a_location_keeps_it():
    problem = Problem(message="wrong", keys=("a",), file="elsewhere", line=7, column=3)

    assert parse("a: 1", "yaml").locate(problem) is problem


def test_the_facts_of_a_located_problem_stay():
    problem = Problem(message="wrong", keys=("a",), value=1, suggestion="write 2", at_key=True)

    located = parse("b: 2\na: 1", "yaml", file="f.yaml").locate(problem)

    assert str(located) == "f.yaml:2:1: a: wrong; write 2\n   2 | a: 1\n     | ^"
    assert (located.value, located.at_key) == (1, True)
