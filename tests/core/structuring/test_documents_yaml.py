"""YAML is read by the core schema of YAML 1.2; what plain data does not hold is refused."""

import math
import sys

import pytest

from noether_core.errors import MOST_PROBLEMS, ConfigError, Problem
from noether_core.structuring.documents import parse, yaml
from noether_core.structuring.documents.yaml import wording_for


@pytest.fixture(params=["libyaml", "its double in Python"], autouse=True)
def either_parser(request, monkeypatch):
    if request.param != "libyaml":
        monkeypatch.setattr(yaml, "_events_of", yaml._slow_events_of)


def data(text):
    return parse(text, "yaml").data


def problems(text):
    with pytest.raises(ConfigError) as caught:
        parse(text, "yaml", file="f.yaml")
    return [
        (problem.line, problem.column, problem.path, problem.message, problem.suggestion)
        for problem in caught.value.problems
    ]


SCALARS = {
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    "0": 0,
    "-1": -1,
    "+12": 12,
    "010": 10,
    "0o17": 15,
    "0x1F": 31,
    "0xff": 255,
    "9" * 30: int("9" * 30),
    "1e-3": 1e-3,
    "1E3": 1e3,
    ".5": 0.5,
    "1.": 1.0,
    "-0.0": -0.0,
    "+1.5e+3": 1500.0,
    "1e400": math.inf,
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), math.inf),
    **dict.fromkeys(("-.inf", "-.INF"), -math.inf),
}

TEXTS = [
    *(
        "no",
        "yes",
        "on",
        "off",
        "y",
        "n",
        "No",
        "YES",
        "nUll",
        "tRUE",
        "none",
        "1_000",
        "12:30:00",
        "1:30",
        "2024-01-01",
    ),
    *(
        "2024-01-01T12:30:00Z",
        "0b11",
        "-0x1",
        "0o8",
        "0xg",
        "1e",
        "e3",
        "1e3.5",
        ".",
        "+",
        ".e3",
        "1.2.3",
        "-.nan",
        ".Nan",
    ),
    *("inf", "nan", "=", "\u0661\u0662", "\uff10", "1,000", "+-1"),
]


@pytest.mark.parametrize("text", SCALARS)
def test_a_plain_scalar_means_what_the_core_schema_says(text):
    value = data(f"a: {text}")["a"]

    assert (value, type(value)) == (SCALARS[text], type(SCALARS[text]))


def test_nan_is_read():
    assert all(math.isnan(value) for value in data("[.nan, .NaN, .NAN]"))


@pytest.mark.parametrize("text", TEXTS)
def test_every_other_plain_scalar_is_text(text):
    assert data(f"a: {text}") == {"a": text}


@pytest.mark.parametrize("text", [*SCALARS, *TEXTS])
def test_quoted_text_is_text_whatever_it_looks_like(text):
    assert data(f"['{text}', \"{text}\"]") == [text, text]


def test_block_text_is_text():
    assert data("a: |\n  12\nb: >-\n  true\n  x\n") == {"a": "12\n", "b": "true x"}


def test_a_directive_for_an_older_version_changes_nothing():
    assert data("%YAML 1.1\n---\na: no\n") == {"a": "no"}


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---", "---\n...\n", "\ufeff"])
def test_an_empty_document_is_none(text):
    assert data(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!!str 12", "12"),
        ("!!str true", "true"),
        ("! 12", "12"),
        ("&a ! 12", "12"),
        ("! '12'", "12"),
        ("!!int 12", 12),
        ("!!int '12'", 12),
        ("!!float 1", 1.0),
        ("!!float 1e-3", 1e-3),
        ("!!float " + "9" * 400, math.inf),
        ("!!bool true", True),
        ("!!null ''", None),
        ("!!map {a: 1}", {"a": 1}),
        ("!!seq [1]", [1]),
        ("!<tag:yaml.org,2002:int> 3", 3),
    ],
)
def test_a_tag_of_the_core_schema_holds_where_it_fits(text, expected):
    value = data(text)

    assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!int x", "the tag !!int does not fit x"),
        ("!!int 1.5", "the tag !!int does not fit 1.5"),
        ("!!float 0x10", "the tag !!float does not fit 0x10"),
        ("!!bool no", "the tag !!bool does not fit no"),
        ("!!null x", "the tag !!null does not fit x"),
        ("!!seq {a: 1}", "the tag !!seq does not fit a mapping"),
        ("!!str [1]", "the tag !!str does not fit a list"),
        ("!!map x", "the tag !!map does not fit x"),
    ],
)
def test_a_tag_that_does_not_fit_is_refused(text, message):
    assert problems(f"a: {text}") == [(1, 4, "a", message, None)]


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system",
        "!!python/name:os.system",
        "!!binary",
        "!!set",
        "!!timestamp",
        "!mine",
        "!<x:y>",
    ],
)
@pytest.mark.parametrize("content", ["x", "[x]", "{x: 1}"])
def test_every_other_tag_is_refused_by_name(tag, content):
    shown = tag.strip("!<>") if "<" in tag else tag

    assert problems(f"a: {tag} {content}") == [
        (
            1,
            4,
            "a",
            f"the tag {shown!r} is not allowed",
            "remove it; a config holds plain data only",
        )
    ]


def test_a_repeated_key_is_refused_where_it_is_repeated():
    assert problems("a: 1\nb:\n  c: 1\n  'c': 2\na: 3\n") == [
        (4, 3, "b.c", "given twice, first on line 3", None),
        (5, 1, "a", "given twice, first on line 1", None),
    ]


def test_a_repeated_key_is_at_fault_itself():
    with pytest.raises(ConfigError) as caught:
        parse("a: 1\na: 2", "yaml")

    assert caught.value.problems[0].at_key


@pytest.mark.parametrize("key", ["1", "1.5", "~", "null", "true", ".inf", "0x10"])
@pytest.mark.parametrize("form", ["{}: x", "? {}\n: x", "{{{}: x}}"])
def test_a_key_that_is_not_text_is_refused_with_the_remedy(key, form):
    text = form.format(key)

    assert problems(text) == [
        (1, text.index(key) + 1, "", f"expected text for a key, got {key}", f'quote it: "{key}"')
    ]
    assert data(text.replace(key, f"'{key}'")) == {key: "x"}


def test_an_empty_key_is_refused():
    ((line, _, _, message, suggestion),) = problems("?\n: 1")

    assert (line, message, suggestion) == (
        1,
        "expected text for a key, got nothing",
        'quote it: ""',
    )


@pytest.mark.parametrize("key", ["[a, b]", "{a: 1}", "[]"])
def test_a_list_or_mapping_for_a_key_is_refused(key):
    assert problems(f"a:\n  ? {key}\n  : 1") == [
        (2, 5, "a", "expected text for a key, got a mapping or a list", None)
    ]


@pytest.mark.parametrize("key", ["no", "y", "1_000", "2024-01-01", "=", "'<<'", '"<<"'])
def test_a_key_that_only_older_readers_change_is_text(key):
    assert data(f"{key}: 1") == {key.strip("'\""): 1}


@pytest.mark.parametrize("merge", ["<<: *a", "? <<\n  : *a", "!!merge <<: *a", "<<: [*a]"])
def test_a_merge_key_takes_over_what_the_mapping_does_not_say_itself(merge):
    document = data(f"a: &a {{x: 1, y: [1]}}\nb:\n  x: 2\n  {merge}\n  z: 3\n")

    assert document == {"a": {"x": 1, "y": [1]}, "b": {"x": 2, "y": [1], "z": 3}}
    document["b"]["y"].append(2)
    assert document["a"]["y"] == [1]


def test_the_first_of_several_merged_mappings_goes_before_the_others():
    text = "[&a {x: 1}, &b {x: 2, y: 2}, {<<: [*a, *b, {z: 3}]}, &c {<<: *b, x: 4}, {<<: *c}]"

    _, _, merged, *chained = data(text)

    assert merged == {"x": 1, "y": 2, "z": 3}
    assert chained == [{"x": 4, "y": 2}] * 2


def test_what_is_merged_keeps_its_location():
    document = parse("a: &a\n  x: 1\nb:\n  <<: *a\n  y: 2\n", "yaml", file="f")

    merged = document.locate(Problem(message="wrong", keys=("b", "x")))
    own = document.locate(Problem(message="wrong", keys=("b", "y"), at_key=True))

    assert (merged.location, own.location) == ("f:2:6", "f:5:3")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<<: 1", (1, 5, "<<", "expected a mapping to merge, or a list of them, got 1")),
        ("<<:", (1, 4, "<<", "expected a mapping to merge, or a list of them, got None")),
        ("<<: [{}, x]", (1, 10, "<<", "expected a mapping to merge, or a list of them, got 'x'")),
        ("<<: *a", (1, 5, "<<", "the alias *a has no anchor before it")),
        ("a: &a {<<: *a}", (1, 12, "a.<<", "the alias *a stands inside what it repeats")),
        ("<<: {}\n<<: {}", (2, 1, "<<", "given twice, first on line 1")),
        ("!x <<: {}", (1, 1, "", "the tag '!x' is not allowed")),
    ],
)
def test_what_cannot_be_merged_is_refused(text, expected):
    assert [found[:4] for found in problems(text)] == [expected]


def test_merge_keys_are_bounded_as_aliases_are():
    text = "a: &a {x: [" + "1, " * 4_000 + "]}\nb:\n  - <<: *a\n  - <<: [*a, *a]\n"

    assert problems(text)[0][:4] == (4, 14, "b[1].<<[1]", "aliases repeat more than 10000 values")


@pytest.mark.parametrize(
    ("text", "column", "char", "name"),
    [
        ("a: &base:one 1", 9, ":", "&base"),
        ("a: &base:one {x: 1}", 9, ":", "&base"),
        ("a: !!str &base:one 1", 15, ":", "&base"),
        ("a: &base:one [1]", 9, ":", "&base"),
        ("[&b 1, *b:c]", 10, ":", "*b"),
        ("a: &b.c 1", 6, ".", "&b"),
        ("a: &b%c 1", 6, "%", "&b"),
        ("a: &b? 1", 6, "?", "&b"),
        ("a: &é 1", 5, "é", "&"),
    ],
)
def test_a_name_that_the_parser_does_not_read_to_its_end_is_refused(text, column, char, name):
    first = problems(text)[0]

    assert first[:2] == (1, column)
    assert first[3:] == (
        f"{char!r} cannot follow {name}",
        "name anchors with letters, digits, '-' and '_'",
    )


def test_a_colon_needs_a_space_before_it_where_an_alias_is_the_key():
    assert problems("- &a x\n- *a: 1") == [
        (2, 5, "[1]", "':' cannot follow *a", "put a space before it")
    ]
    assert data("- &a x\n- *a : 1\n") == ["x", {"x": 1}]


def test_aliases_stand_no_deeper_than_what_is_written_out():
    assert problems("- &a " + "[" * 40 + "]" * 40 + "\n- " + "[" * 30 + "*a" + "]" * 30) == [
        (2, 33, "", "mappings and lists stand more than 64 deep in each other", None)
    ]


def test_aliases_repeat_what_their_anchor_marks():
    document = data("a: &x {b: [1, 2]}\nc: *x\nd: [&y text, *y]\n? *y\n: &z null\nf: *z\n")

    assert document == {
        "a": {"b": [1, 2]},
        "c": {"b": [1, 2]},
        "d": ["text", "text"],
        "text": None,
        "f": None,
    }


def test_what_aliases_repeat_is_not_shared():
    document = data("a: &x {b: [1, 2]}\nc: *x\nd: [*x, *x]\n")
    document["c"]["b"].append(3)
    document["d"][0]["b"].clear()

    assert document["a"] == document["d"][1] == {"b": [1, 2]}


def test_the_last_of_two_anchors_of_a_name_counts():
    assert data("[&x 1, *x, &x 2, *x]") == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("text", "column"), [("a: &x [*x]", 8), ("a: &x {b: {c: *x}}", 15), ("&x a: &x [1, *x]", 14)]
)
def test_an_alias_of_what_it_stands_in_is_refused(text, column):
    ((line, found, _, message, _),) = problems(text)

    assert (line, found, message) == (1, column, "the alias *x stands inside what it repeats")


def test_an_alias_without_an_anchor_is_refused():
    assert problems("a: 1\nb: *a\nc: &a 1") == [
        (2, 4, "b", "the alias *a has no anchor before it", None)
    ]


def test_aliases_that_multiply_are_refused():
    levels = [
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)
    ]

    ((line, _, path, message, _),) = problems("a0: &a0 x\n" + "\n".join(levels))

    assert (line, path.partition("[")[0], message) == (
        5,
        "a4",
        "aliases repeat more than 10000 values",
    )


def test_a_second_document_is_refused():
    assert problems("a: 1\n---\nb: 2\n") == [
        (2, 1, "", "a second document starts here", "keep one document in a file")
    ]


def test_sixty_four_levels_are_read_and_no_more():
    assert data("[" * 64 + "]" * 64)
    assert problems("[" * 65 + "]" * 65) == [
        (1, 65, "", "mappings and lists stand more than 64 deep in each other", None)
    ]


@pytest.mark.parametrize(
    "digits", ["9" * 4301, "-" + "9" * 4301, "0x" + "f" * 4000, "0o" + "7" * 5000, "1" * 10**5]
)
def test_a_whole_number_of_too_many_digits_is_refused(digits):
    assert problems(f"a: [1, {digits}]") == [
        (1, 8, "a[1]", "a whole number of more than 4300 digits", None)
    ]


def test_a_whole_number_of_just_as_many_digits_is_read():
    assert data("-" + "9" * 4300) == 1 - 10**4300


@pytest.mark.parametrize("escape", ["\\ud800", "\\U0000dfff", "\\U00110000", "\\Uffffffff"])
def test_an_escape_of_no_whole_character_is_refused(escape):
    ((line, *_),) = problems(f'a: "{escape}"')

    assert line == 1


def test_the_double_takes_over_where_libyaml_is_missing(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "yaml._yaml", None)

    assert data("a: [1, no]") == {"a": [1, "no"]}


def test_any_number_of_lists_may_stand_side_by_side():
    assert len(data("a: [" + "[], {}, " * 100 + "]")["a"]) == 200


def test_everything_that_is_wrong_is_reported_at_once():
    found = problems("1: a\nb: !x 1\nb: 2\nc: [*d, 2, {<<: 1}]\ne: 'x\n")

    assert [(line, column) for line, column, *_ in found] == [
        (1, 1),
        (2, 4),
        (3, 1),
        (4, 5),
        (4, 17),
        (5, 4),
    ]


def test_the_rest_of_very_many_problems_is_not_looked_for():
    assert len(problems("a: 1\n" * 1000)) == MOST_PROBLEMS + 1


DIRECTIVE = "this line starts with '%', and is no directive that is known"
QUOTE = "if it belongs to text, quote the text"
TAG = "remove it; a config holds plain data only"
BACKSLASH = "write '\\\\' for a backslash, or put a path of Windows into single quotes"
SYNTAX = {
    "a: b: c": (1, 5, "a ':' cannot stand here", "if it belongs to text, quote the text"),
    "a: 1\n b: 2": (2, 3, "a ':' cannot stand here", "if it belongs to text, quote the text"),
    "a:\n\tb: 1": (2, 1, "a tab cannot indent YAML", "use spaces"),
    "a: @b": (1, 4, "no value starts with '@'", "if it belongs to text, quote the text"),
    "a: `b`": (1, 4, "no value starts with '`'", "if it belongs to text, quote the text"),
    "a:\n  - [1, 2\n": (2, 5, "expected ',' or ']' in the list that starts on line 2", None),
    "a: [1,\n  b c: }": (2, 8, None, None),
    "a: {b: 1\n": (1, 4, "expected ',' or '}' in the mapping that starts on line 1", None),
    "a: {b: 1]": (1, 9, "expected ',' or '}' in the mapping that starts on line 1", None),
    "a: 1\nb: 'x\n": (2, 4, "the quoted text that starts here does not end", None),
    'a: "\\q"': (1, None, "no such escape in double quotes", BACKSLASH),
    'a: "C:\\users"': (1, None, "an escape in double quotes that lacks digits", BACKSLASH),
    'a: "\\xg1"': (1, None, "an escape in double quotes that lacks digits", BACKSLASH),
    "a: !<x 1": (1, None, "the tag is not whole", TAG),
    "a: |0\n x": (1, 5, "the indentation of a text has one digit from 1 to 9", "drop it"),
    "a: ? b": (1, 4, "a '? ' cannot stand here", QUOTE),
    "a: &x 1\n*x : 2": (2, 1, "expected text for a key, got an alias of 1", None),
    "a: 1\n- b": (2, 1, None, "check the indentation"),
    "a:\n  b: 1\n c: 2": (3, 2, None, "check the indentation"),
    "- a\nb: 1": (2, 1, None, "check the indentation"),
    "a: - b": (1, 4, "a '- ' cannot stand here", "start the list on a line of its own"),
    "a: 1\nb\nc: 2": (2, 1, "expected a ':' after this key", None),
    "!x!y a": (1, 1, "the tag is not allowed", "remove it; a config holds plain data only"),
    "{a: 1}}": (1, 7, "the document has ended before this", None),
    "a: ]": (1, 4, "expected a value, found ']'", None),
    "a: *": (1, 4, "a '*' or '&' needs a name behind it", "if it belongs to text, quote the text"),
    'a: "x" y': (
        1,
        8,
        "this cannot follow what stands before it on its line",
        "if it belongs to text, quote the text",
    ),
    "a: {b": (1, 4, None, None),
    "[" * 2000: (1, None, "mappings and lists stand more than 64 deep in each other", None),
    "é😀: [1, 2": (1, 5, "expected ',' or ']' in the list that starts on line 1", None),
}


@pytest.mark.parametrize("text", SYNTAX)
def test_what_is_not_yaml_is_reported_in_plain_words_and_where_it_stands(text):
    ((line, column, _, message, suggestion),) = problems(text)

    expected = SYNTAX[text]
    assert (line, suggestion) == (expected[0], expected[3])
    assert expected[1] in (None, column)
    assert expected[2] in (None, message)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("could not find expected directive name", DIRECTIVE),
        ("found incompatible YAML document", DIRECTIVE),
        ("found duplicate %YAML directive", DIRECTIVE),
        ("did not find expected version number", DIRECTIVE),
        ("found invalid Unicode character escape code", "an escape in double quotes that is no "),
        ("did not find URI escaped octet", "the tag is not whole"),
    ],
)
def test_what_libyaml_alone_says_is_put_in_our_words(problem, message):
    assert wording_for(problem, "x", "").message.startswith(message)
