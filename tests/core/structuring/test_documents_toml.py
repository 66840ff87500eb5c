"""TOML is read by the standard library, and refused is what plain data does not hold."""

import math

import pytest

from noether_core.errors import ConfigError
from noether_core.structuring.documents import parse


def problems(text):
    with pytest.raises(ConfigError) as caught:
        parse(text, "toml", file="f.toml")
    return [
        (problem.line, problem.column, problem.path, problem.message, problem.suggestion)
        for problem in caught.value.problems
    ]


def test_plain_data_is_read():
    text = (
        "a = 0o17\nb = 1_000\nc = 1e-3\nd = [true, 'no', []]\n[e.f]\ng = -inf\n[[h]]\ni = nan\n"
        "[[h]]\n"
    )
    data = parse(text, "toml").data
    nan = data["h"][0].pop("i")

    assert math.isnan(nan)
    assert data == {
        "a": 15,
        "b": 1000,
        "c": 1e-3,
        "d": [True, "no", []],
        "e": {"f": {"g": -math.inf}},
        "h": [{}, {}],
    }


def test_an_empty_document_is_an_empty_mapping():
    assert parse("", "toml").data == {}


@pytest.mark.parametrize(
    ("written", "shown", "quoted"),
    [
        ("1979-05-27", "1979-05-27", "1979-05-27"),
        ("07:32:00", "07:32:00", "07:32:00"),
        ("1979-05-27 07:32:00", "1979-05-27 07:32:00", "1979-05-27T07:32:00"),
        ("1979-05-27T07:32:00Z", "1979-05-27 07:32:00+00:00", "1979-05-27T07:32:00+00:00"),
    ],
)
def test_dates_and_times_are_refused_with_the_remedy(written, shown, quoted):
    message = f"dates and times are not options, got {shown}"

    assert problems(f"x = 1\n[a]\nb = [1, {{c = {written}}}]") == [
        (3, 14, "a.b[1].c", message, f'quote it: "{quoted}"')
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a = 1\na = 2", (2, 1, "a")),
        ("a = 1\n'a' = 2", (2, 1, "a")),
        ('a = 1\n"\\u0061" = 2', (2, 1, "a")),
        ("[x]\na.b = 1\na.c = 2\na.b = 3", (4, 3, "x.a.b")),
        ("[a]\nb = 1\n[c]\n[a]\nb = 2", (4, 2, "a")),
        ("[a.b]\n[a]\n[a.b]", (3, 4, "a.b")),
        ("a = {b = 1, b = 2}", (1, 13, "a.b")),
        ("a = [{b = 1}, {b = 1, b = 2}]", (1, 23, "a[1].b")),
        ("[[a]]\nb = 1\n[[a]]\nb = 2\nb = 3", (5, 1, "a[1].b")),
        ("[[a]]\n[a.b]\nc = 1\n[[a]]\n[a.b]\n[a.b]", (6, 4, "a[1].b")),
    ],
)
def test_a_repeated_key_or_table_is_refused_where_it_is_repeated(text, place):
    ((line, column, path, message, _),) = problems(text)

    assert (line, column, path) == place
    assert message.startswith("given twice, first on line ")


def test_the_first_line_of_a_repeated_key_is_named():
    assert problems("\n[a]\nb = 1\n\nb = 2")[0][3] == "given twice, first on line 3"


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a = ", 1, 5, "not valid TOML: invalid value"),
        ("a = 1\nb", 2, 2, "not valid TOML: expected '=' after a key in a key/value pair"),
        (
            "a = 1\r\nb = 1 c = 2\r\n",
            2,
            7,
            "not valid TOML: expected newline or end of document after a statement",
        ),
        ("'é' = [1, 2", 1, 12, "not valid TOML: unclosed array"),
        ("a = 'x", 1, 7, None),
        ('a = "\\q"', 1, None, None),
        (
            'a = "\\ud800"',
            1,
            None,
            "not valid TOML: escaped character is not a Unicode scalar value",
        ),
        ("a = 1\n[a.b]", 2, 5, "not valid TOML: the name before this has a value already"),
        ("a = {}\na.b = 1", 2, None, None),
        ("a = 1\rb = 2", 1, None, None),
    ],
)
def test_what_is_not_toml_is_reported_where_it_stands(text, line, column, message):
    ((found_line, found_column, _, found_message, _),) = problems(text)

    assert found_line == line
    assert column in (None, found_column)
    assert message in (None, found_message)
    assert found_message.startswith("not valid TOML: ")


@pytest.mark.parametrize("digits", ["9" * 4301, "-" + "9" * 4301, "0x" + "f" * 4000])
def test_a_whole_number_of_too_many_digits_is_refused(digits):
    ((line, column, _, message, _),) = problems(f"b = 1\na = {digits}")

    assert (line, message) == (2, "a whole number of more than 4300 digits")
    assert column in (5, 6)


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 64 + "]" * 64,
        "a = " + "[" * 5000,
        "a = " + "{b=" * 70,
        ".".join("a" * 66) + " = 1",
        "[" + ".".join("a" * 66) + "]",
        "[" + ".".join("a" * 40) + "]\n" + ".".join("b" * 40) + " = 1",
    ],
)
def test_more_than_sixty_four_levels_are_refused(text):
    ((line, *_, message, _),) = problems(text)

    assert (line, message) == (
        text.count("\n") + 1,
        "mappings and lists stand more than 64 deep in each other",
    )


def test_sixty_four_levels_are_read():
    assert parse("a = " + "[" * 63 + "]" * 63, "toml").data
    assert parse(".".join("a" * 64) + " = 1", "toml").data


def test_any_number_of_lists_may_stand_side_by_side():
    assert len(parse("a = [" + "[], {}, " * 100 + "]", "toml").data["a"]) == 200
