"""What is raised, and how it reads."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from noether_core.errors import (
    MOST_PROBLEMS,
    AmbiguousTypeError,
    ConfigError,
    NoetherError,
    PluginError,
    Problem,
    ShapeError,
    UnknownTypeError,
    UnsupportedArgumentError,
    path_text,
    shown,
)

HEADS = Problem(
    message="7 does not divide hidden_dim 256",
    keys=("num_heads",),
    value=7,
    suggestion="4 and 8 do",
    file="attention.yaml",
    line=4,
    column=12,
    source="num_heads: 7",
)

ERRORS = [
    ConfigError([HEADS]),
    UnknownTypeError("transolvr", ["transolver"], [HEADS]),
    AmbiguousTypeError("flare", ["a:flare", "b:flare"], [HEADS]),
    PluginError("'flare' of acme 1.2.0", "acme cannot be imported"),
    ShapeError("x has two dimensions"),
    UnsupportedArgumentError("transolver", "freqs", "slices have no position"),
]


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ((), ""),
        (("num_heads",), "num_heads"),
        (("model", "blocks", 0, "num_heads"), "model.blocks[0].num_heads"),
        ((0, "name"), "[0].name"),
        ((1, 2), "[1][2]"),
        ((None,), "None"),
    ],
)
def test_a_path_reads_as_its_keys_are_written(keys, path):
    assert path_text(keys) == path
    assert Problem(message="wrong", keys=keys).path == path


def test_a_problem_shows_location_path_message_way_out_and_a_caret_under_the_value():
    assert str(HEADS) == (
        "attention.yaml:4:12: num_heads: 7 does not divide hidden_dim 256; 4 and 8 do\n"
        "   4 | num_heads: 7\n"
        "     |            ^"
    )


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(message="wrong"), "wrong"),
        (Problem(message="wrong", keys=("a",)), "a: wrong"),
        (Problem(message="wrong", file="f.yaml"), "f.yaml: wrong"),
        (Problem(message="wrong", file="f.yaml", line=3), "f.yaml:3: wrong"),
        (Problem(message="wrong", suggestion="do right"), "wrong; do right"),
    ],
)
def test_a_problem_leaves_out_what_is_not_known(problem, text):
    assert str(problem) == problem.headline == text


def test_the_caret_keeps_the_tabs_of_the_line_above_it():
    lines = str(
        Problem(message="wrong", file="f", line=12345, column=4, source="\ta\t9")
    ).splitlines()
    assert lines[1:] == ["12345 | \ta\t9", "      | \t \t^"]


@pytest.mark.parametrize("column", [1, 40, 200, 4999, 5000])
def test_of_a_long_line_the_part_around_the_column_is_shown(column):
    source = "." * (column - 1) + "X" + "." * (5000 - column)
    _, shown_line, caret = str(
        Problem(message="wrong", file="f", line=1, column=column, source=source)
    ).splitlines()
    assert len(shown_line) < 180
    assert shown_line[caret.index("^")] == "X"


def test_a_problem_within_a_surrounding_config_has_a_longer_path_and_the_same_facts():
    outer = HEADS.within("blocks", 2)
    assert outer.path == "blocks[2].num_heads"
    assert (outer.message, outer.value, outer.line) == (HEADS.message, 7, 4)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (7, 7),
        (True, True),
        (0.5, 0.5),
        ("a", "a"),
        (float("inf"), None),
        (float("nan"), None),
        ([1], None),
        (None, None),
    ],
)
def test_a_problem_as_a_dict_is_ready_for_json(value, written):
    facts = Problem(
        message="wrong", keys=("a", 0), value=value, file="f", line=1, column=2, source="a: [7]"
    ).as_dict()
    expected = {"path": "a[0]", "message": "wrong", "value": written, "suggestion": None}
    assert facts == expected | {"file": "f", "line": 1, "column": 2, "source": "a: [7]"}
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_a_line_too_long_to_be_shown_is_no_fact_of_a_problem():
    assert Problem(message="wrong", source="a" * 4096).as_dict()["source"] == "a" * 4096
    assert Problem(message="wrong", source="a" * 4097).as_dict()["source"] is None


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no text for you")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        ("x" * 58, "'" + "x" * 58 + "'"),
        ("x" * 59, "'" + "x" * 55 + "...'"),
        (list(range(100)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 1...]"),
        (Unprintable(), "a value of type Unprintable"),
        pytest.param(10**10_000, "a value of type int", id="an integer of 10,001 digits"),
    ],
)
def test_a_value_is_quoted_in_at_most_60_characters_and_never_fails(value, text):
    assert shown(value) == text
    assert len(text) <= 60


def test_problems_are_sorted_by_their_location_and_else_keep_their_order():
    places = [("b.yaml", 1, 1), ("a.yaml", 9, 1), ("a.yaml", 2, 7), ("a.yaml", 2, 3)]
    problems = [
        Problem(message="wrong", file=file, line=line, column=column)
        for file, line, column in places
    ]
    unplaced = [Problem(message="second"), Problem(message="first")]
    error = ConfigError([*problems, *unplaced])
    assert [problem.message for problem in error.problems[:2]] == ["second", "first"]
    assert [(p.file, p.line, p.column) for p in error.problems[2:]] == sorted(places)


def test_a_config_error_reads_as_all_of_its_problems():
    error = ConfigError(
        iter([Problem(message="one", keys=("a",)), Problem(message="two", keys=("b",))])
    )
    assert str(error) == "a: one\nb: two"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_survives_pickling_with_its_facts(error, protocol):
    loaded = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301  our own bytes
    for again in (loaded, copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.args == error.args
        assert vars(again) == vars(error)


@pytest.mark.parametrize(
    ("error", "builtin"),
    list(
        zip(
            ERRORS,
            [ValueError, LookupError, LookupError, ImportError, ValueError, ValueError],
            strict=True,
        )
    ),
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_one_root_and_the_builtin_that_a_reader_would_catch(error, builtin):
    assert isinstance(error, NoetherError)
    assert isinstance(error, builtin)


@pytest.mark.parametrize("error", ERRORS[:3], ids=lambda error: type(error).__name__)
def test_an_error_about_other_problems_keeps_its_kind_and_its_own_facts(error):
    other = error.with_problems([Problem(message="placed")])
    assert type(other) is type(error)
    assert [problem.message for problem in other.problems] == ["placed"]
    facts = {name: value for name, value in vars(error).items() if name != "problems"}
    assert facts.items() <= vars(other).items()


def test_an_unknown_type_and_an_ambiguous_one_name_what_there_is():
    assert ERRORS[1].type == "transolvr"
    assert ERRORS[1].installed == ("transolver",)
    assert ERRORS[2].providers == ("a:flare", "b:flare")


def test_a_plugin_error_names_the_plugin_before_the_reason():
    assert str(ERRORS[3]) == "'flare' of acme 1.2.0: acme cannot be imported"


def test_a_refused_argument_names_variant_argument_and_reason():
    assert (
        str(ERRORS[5]) == "transolver: cannot honour the argument 'freqs': slices have no position"
    )


def test_one_error_reports_so_many_problems_and_where_the_rest_begins():
    problems = [
        Problem(message="wrong", keys=(number,), line=number, value=number)
        for number in range(1, 900)
    ]
    message = ConfigError(problems).problems
    assert message[:MOST_PROBLEMS] == tuple(problems[:MOST_PROBLEMS])
    (rest,) = message[MOST_PROBLEMS:]
    assert rest.message == "there are more than 500 problems; those from here on are left out"
    assert (rest.line, rest.value) == (501, None)
    again = ConfigError(message).problems
    assert again == message
    assert ConfigError(problems[:MOST_PROBLEMS]).problems == tuple(problems[:MOST_PROBLEMS])


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("max iterations", "a.max iterations"),
        ("", "a['']"),
        (" ", "a[' ']"),
        ("\x1b[31m", r"a['\x1b[31m']"),
        ("one\ntwo", r"a['one\ntwo']"),
        ("x" * 5000, f"a['{'x' * 55}...']"),
    ],
)
def test_a_key_that_would_spoil_a_line_is_quoted(key, path):
    assert Problem(message="wrong", keys=("a", key)).path == path


def test_a_number_too_long_to_be_written_is_no_fact_for_json():
    assert Problem(message="wrong", value=10**3000).as_dict()["value"] == 10**3000
    assert Problem(message="wrong", value=-(16**4000)).as_dict()["value"] is None
