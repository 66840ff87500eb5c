"""JSON is read by the standard library, and refused is what plain data does not hold."""

import pytest

from noether_core.errors import MOST_PROBLEMS, ConfigError
from noether_core.structuring.documents import parse


def problems(text):
    with pytest.raises(ConfigError) as caught:
        parse(text, "json", file="f.json")
    return [
        (problem.line, problem.column, problem.path, problem.message)
        for problem in caught.value.problems
    ]


def test_plain_data_is_read():
    assert parse('{"a": [1, -2.5e-3, null, true, "\\ud83d\\ude00"]}', "json").data == {
        "a": [1, -2.5e-3, None, True, "😀"]
    }


def test_repeated_keys_are_refused_where_they_are_repeated():
    text = '{"a": 1, "b": {"c": 1,\n "\\u0063": 2},\n"a": [{"d": 1, "d": 1}]}'

    assert problems(text) == [
        (2, 2, "b.c", "given twice, first on line 1"),
        (3, 1, "a", "given twice, first on line 1"),
        (3, 16, "a[0].d", "given twice, first on line 3"),
    ]


def test_the_rest_of_very_many_repeated_keys_is_not_looked_for():
    assert len(problems("{" + ",".join(['"a":1'] * 1000) + "}")) == MOST_PROBLEMS + 1


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_refused(name):
    assert problems(f'{{"a":\n [1, {name}]}}') == [(2, 6, "a[1]", f"JSON has no {name}")]


def test_a_number_too_large_is_refused_instead_of_read_as_infinity():
    assert problems('{"a": -1e999}') == [(1, 7, "a", "a number too large for Python to hold")]


def test_a_whole_number_of_too_many_digits_is_refused():
    assert problems('{"b": 1,\n"a": ' + "9" * 4301 + "}") == [
        (2, 6, "a", "a whole number of more than 4300 digits")
    ]
    assert parse("9" * 4300, "json").data == 10**4300 - 1


def test_half_a_character_is_refused():
    half = "half of a character (a lone surrogate)"

    assert problems('{"a": ["\\ud800x"]}') == [(1, 8, "a[0]", rf"'\ud800x' holds {half}")]
    assert problems('{"a":\n{"\\udfff": 1}}') == [(2, 1, "a", rf"the key '\udfff' holds {half}")]


def test_sixty_four_levels_are_read_and_no_more():
    assert parse("[" * 64 + "]" * 64, "json").data
    for closing in ("]" * 65, ""):
        assert problems("[" * 65 + closing) == [
            (1, 65, "", "mappings and lists stand more than 64 deep in each other")
        ]


def test_any_number_of_lists_may_stand_side_by_side():
    assert len(parse("[" + "[], {}, " * 100 + "[]]", "json").data) == 201


def test_brackets_in_text_are_no_levels():
    assert parse('["' + "[{" * 100 + '\\""]', "json").data


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", (1, 1, "", "not valid JSON: expected a value, and the text ends here")),
        (
            '{"é": 1\n "b": 2}',
            (2, 2, "", "not valid JSON: expected ',' or the end of the mapping or list"),
        ),
        ("{'a': 1}", (1, 2, "", "not valid JSON: expected a key in double quotes")),
        ('{"a": 1} {}', (1, 10, "", "the document has ended before this")),
        (
            '["a\n"]',
            (
                1,
                4,
                "",
                "not valid JSON: a line break, or another control character, stands in text",
            ),
        ),
        ('["a', (1, 2, "", "not valid JSON: the text that starts here does not end")),
        ("// note\n{}", (1, 1, "", "not valid JSON: expected a value")),
    ],
)
def test_what_is_not_json_is_reported_where_it_stands(text, place):
    assert problems(text) == [place]


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("[1, 2, ]", "remove the ',' before it"),
        ('{"a": 1,}', "remove the ',' before it"),
        ("{'a': 1}", "use double quotes"),
        ('{"a": 1 // one\n}', "JSON has no comments; write YAML"),
        ("# one\n1", "JSON has no comments; write YAML"),
        ("[1 2]", None),
    ],
)
def test_what_json_has_not_is_reported_with_a_way_out(text, suggestion):
    with pytest.raises(ConfigError) as caught:
        parse(text, "json")
    assert [problem.suggestion for problem in caught.value.problems] == [suggestion]
