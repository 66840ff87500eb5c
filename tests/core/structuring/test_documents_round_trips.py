"""What is written reads back as the same data, for us and for the readers that others use."""

import json
import math
import tomllib

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from noether_core.errors import ConfigError
from noether_core.structuring.documents import parse
from noether_core.structuring.documents.writing import write

FORMATS = ("yaml", "toml", "json")

TRICKY = [
    *(
        "",
        " ",
        " a",
        "a ",
        "\t",
        "a\t",
        "a\nb",
        "a\n",
        "\n",
        "a\r\nb",
        "\r",
        "a\x85b",
        "a\u2028b",
        "\u2029",
        "\ufeff",
        "a\ufeff",
    ),
    *(
        "no",
        "Yes",
        "ON",
        "off",
        "y",
        "N",
        "true",
        "False",
        "null",
        "NULL",
        "~",
        "None",
        "nan",
        ".nan",
        "inf",
        ".inf",
    ),
    *(
        "1",
        "-1",
        "+1",
        "1.5",
        "1e-3",
        "1.0e+5",
        ".5",
        "1.",
        "0x1f",
        "0o17",
        "017",
        "0b1",
        "1_000",
        "12:30",
        "12:30:00",
        "1,000",
    ),
    *(
        "2024-01-01",
        "2024-01-01T12:00:00Z",
        "2024-01-01 12:00:00",
        "=",
        "<<",
        "-",
        "- a",
        "?",
        "? a",
        ":",
        "a:",
        "a: b",
        ":a",
    ),
    *(
        "#",
        "a #b",
        "a#b",
        "[",
        "]",
        "{a}",
        "a, b",
        "&a",
        "*a",
        "!a",
        "!!int 1",
        "|",
        ">",
        "'",
        '"',
        "'a'",
        '"a"',
        "%a",
        "@a",
        "`a`",
    ),
    *(
        "---",
        "...",
        "--- a",
        "\\",
        "a\\nb",
        "\\u0041",
        "\0",
        "\x07",
        "\x1b[0m",
        "\x7f",
        "\x80",
        "\ufffe",
        "\uffff",
        "é",
        "😀",
        "e\u0301",
    ),
    *(
        "a" * 2000,
        "é" * 2000,
        "\0" * 400,
        "a b" * 600,
        "e5",
        "_1",
        "a.b",
        "a/b.yaml",
        "x y z",
        "1a",
        "0",
        "0.0",
    ),
]

texts = st.sampled_from(TRICKY) | st.text(max_size=12)
numbers = st.integers() | st.integers(-(10**40), 10**40) | st.floats(allow_nan=False)
finite = st.integers() | st.floats(allow_nan=False, allow_infinity=False)


def trees(leaves):
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=12,
    )


DATA = {
    "yaml": trees(st.none() | st.booleans() | numbers | texts),
    "json": trees(st.none() | st.booleans() | finite | texts),
    "toml": st.dictionaries(texts, trees(st.booleans() | numbers | texts), max_size=5),
}
_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
OTHERS = {
    "yaml": [yaml.safe_load, lambda text: yaml.load(text, _FAST)],  # noqa: S506  a safe loader too
    "json": [json.loads],
    "toml": [tomllib.loads],
}


def told(data):
    """Return what makes data the same: values, types, the sign of zero and the order of keys."""
    if isinstance(data, dict):
        return [(key, told(item)) for key, item in data.items()]
    if isinstance(data, list):
        return [told(item) for item in data]
    return type(data), repr(data)


def unordered(data):
    if isinstance(data, dict):
        return {key: unordered(item) for key, item in data.items()}
    return (
        [unordered(item) for item in data] if isinstance(data, list) else (type(data), repr(data))
    )


@pytest.mark.parametrize("format", FORMATS)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_what_is_written_reads_back_as_the_same_data(format, data):
    plain = data.draw(DATA[format])
    same = (
        unordered if format == "toml" else told
    )  # TOML has the scalars of a table before its tables

    text = write(plain, format)

    assert same(parse(text, format).data) == same(plain)
    for other in OTHERS[format]:
        assert same(other(text)) == same(plain)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("text", TRICKY, ids=ascii)
def test_text_stays_the_same_text_wherever_it_stands(format, text):
    plain = {text: text, "list": [text, [text, {text: [text]}]], "nested": {text: {text: text}}}
    written = write(plain, format)

    assert parse(written, format).data == plain
    for other in OTHERS[format]:
        assert other(written) == plain


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "value",
    [1e-5, 1e16, 1e22, 5e-324, 1.7976931348623157e308, -0.0, 0.1, 1.0, 123456789.123, 1e100],
)
def test_a_fraction_stays_the_same_fraction(format, value):
    written = write({"a": value, "b": [value]}, format)

    for reader in (lambda text: parse(text, format).data, *OTHERS[format]):
        assert told(reader(written)) == told({"a": value, "b": [value]})


@pytest.mark.parametrize("format", ["yaml", "toml"])
def test_infinity_and_nan_are_written_where_the_format_has_them(format):
    written = write({"a": math.inf, "b": [-math.inf, math.nan]}, format)

    for reader in (lambda text: parse(text, format).data, *OTHERS[format]):
        assert told(reader(written)) == told({"a": math.inf, "b": [-math.inf, math.nan]})


@pytest.mark.parametrize("format", FORMATS)
def test_tuples_become_lists(format):
    assert parse(write({"a": (1, (2, {"b": ()}))}, format), format).data == {
        "a": [1, [2, {"b": []}]]
    }


@pytest.mark.parametrize("format", FORMATS)
def test_whole_numbers_of_many_digits_are_exact(format):
    number = 1 - 10**4300

    assert parse(write({"a": number}, format), format).data == {"a": number}


@pytest.mark.parametrize("format", FORMATS)
def test_sixty_four_levels_are_written_and_no_more(format):
    data = {"a": 1}
    for _ in range(63):
        data = {"a": data}

    assert parse(write(data, format), format).data == data
    with pytest.raises(
        ConfigError, match="mappings and lists stand more than 64 deep in each other"
    ):
        write({"a": data}, format)


def test_yaml_is_written_in_blocks_with_lists_of_scalars_on_one_line():
    data = {
        "type": "mixed",
        "split": [0.8, 1e-5, "no"],
        "patterns": [{"queries": ["surface"], "keys": {"from": None}}, {}, [[1], []]],
        "empty": {},
        "model": {"bias": True, "name": "größe"},
    }

    assert write(data, "yaml") == (
        "type: mixed\n"
        'split: [0.8, 1.0e-05, "no"]\n'
        "patterns:\n"
        "  - queries: [surface]\n"
        "    keys:\n"
        "      from: null\n"
        "  - {}\n"
        "  - - [1]\n"
        "    - []\n"
        "empty: {}\n"
        "model:\n"
        "  bias: true\n"
        '  name: "größe"\n'
    )


def test_json_is_written_indented_and_ends_its_last_line():
    assert write({"größe": [1, None]}, "json") == '{\n  "größe": [\n    1,\n    null\n  ]\n}\n'


def test_toml_is_written_with_its_tables():
    assert write({"b": 1, "a": {"c": [1, 2]}}, "toml") == "b = 1\n\n[a]\nc = [\n    1,\n    2,\n]\n"


def refused(data, format):
    with pytest.raises(ConfigError) as caught:
        write(data, format)
    return [(problem.path, problem.message) for problem in caught.value.problems]


def test_null_is_refused_where_toml_has_none():
    data = {"a": None, "b": [1, {"c": None}]}

    assert refused(data, "toml") == [("a", "TOML has no null"), ("b[1].c", "TOML has no null")]
    assert (
        parse(write(data, "json"), "json").data == parse(write(data, "yaml"), "yaml").data == data
    )


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_infinity_and_nan_are_refused_where_json_has_none(value):
    assert refused({"a": [value]}, "json") == [("a[0]", "JSON has no infinity and no NaN")]


@pytest.mark.parametrize("data", [[1], "text", 1, True])
def test_toml_holds_a_mapping(data):
    assert refused(data, "toml") == [("", f"TOML holds a mapping, got {data!r}")]


@pytest.mark.parametrize("format", FORMATS)
def test_half_a_character_is_refused_wherever_it_stands(format):
    half = "half of a character (a lone surrogate)"

    assert refused({"a": {"\ud800": 1}, "b": ["x\udfff"]}, format) == [
        ("a", f"the key '\\ud800' holds {half}"),
        ("b[0]", f"'x\\udfff' holds {half}"),
    ]


@pytest.mark.parametrize("format", FORMATS)
def test_data_that_is_not_plain_is_refused(format):
    assert refused({"a": {1: 2}, "b": [{1}, 1j], "c": 10**4300}, format) == [
        ("a", "expected text for a key, got 1"),
        ("b[0]", "expected plain data, got {1} of type set"),
        ("b[1]", "expected plain data, got 1j of type complex"),
        ("c", "a whole number of more than 4300 digits"),
    ]


@pytest.mark.parametrize("format", FORMATS)
def test_data_without_an_end_is_refused(format):
    endless, wide = {}, ["x"]
    endless["a"] = endless
    for _ in range(60):
        wide = [wide, wide]

    assert (
        refused(endless, format)[0][1] == "mappings and lists stand more than 64 deep in each other"
    )
    assert refused({"a": wide}, format) == [("", "more than 32768 values")]
    assert refused({"a": "x" * 2**20}, format) == [
        ("", "the document would have more than 1048576 characters")
    ]
