"""Text from outside as it is printed."""

from __future__ import annotations

import pytest

from noether_core.errors import (
    ConfigError,
    Difference,
    PluginError,
    Problem,
    ProvenanceError,
    SavedModuleError,
    UnsupportedArgumentError,
    describe_differences,
    path_text,
    shown,
)
from noether_core.quoting import masked, visible, visible_lines


@pytest.mark.parametrize("text", ["", "num_heads: 7", "Größe", "注意", "a\\x1b", "αβγ ≤ 3"])
def test_what_can_be_seen_stays_as_it_is(text):
    assert visible(text) == visible_lines(text) == masked(text) == text


@pytest.mark.parametrize(
    ("char", "escape"),
    [
        ("\x1b", r"\x1b"),
        ("\r", r"\r"),
        ("\n", r"\n"),
        ("\x7f", r"\x7f"),
        ("\x9b", r"\x9b"),
        ("\xad", r"\xad"),
        ("\u200b", r"\u200b"),
        ("\u202e", r"\u202e"),
        ("\u2028", r"\u2028"),
        ("\u3164", r"\u3164"),
        ("\ufe0f", r"\ufe0f"),
        ("\udce9", r"\udce9"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_cannot_be_seen_is_an_escape_or_a_mark(char, escape):
    assert visible(f"a{char}b") == f"a{escape}b"
    assert masked(f"a{char}b") == "a\ufffdb"


def test_lines_and_tabs_of_a_text_stay_and_tabs_of_a_source_line_keep_columns():
    assert visible_lines("a\n\tb\rc") == "a\n\tb\\rc"
    assert masked("a\t\x1bb") == "a\t\ufffdb"


UNSEEN = "\x1b[2J\u202e\u3164\nforged"
SEEN = r"\x1b[2J\u202e\u3164\nforged"


@pytest.mark.parametrize(
    "error",
    [
        ConfigError([Problem(message=UNSEEN)]),
        ConfigError([Problem(message="wrong", file=UNSEEN)]),
        ConfigError([Problem(message="wrong", suggestion=UNSEEN)]),
        ConfigError([Problem(message="wrong", keys=(UNSEEN,))]),
        PluginError(UNSEEN, "is broken"),
        PluginError("acme", UNSEEN),
        SavedModuleError(UNSEEN, "is no file"),
        UnsupportedArgumentError("acme", "freqs", UNSEEN),
    ],
    ids=lambda error: f"{type(error).__name__}",
)
def test_the_text_of_an_error_is_one_line_that_hides_nothing(error):
    assert SEEN in str(error)
    assert str(error).isprintable()
    assert "\u3164" not in str(error)


def test_quoted_values_and_paths_hide_nothing():
    assert shown("\u3164") == r"'\u3164'"
    assert path_text(("a", "\u3164")) == r"a['\u3164']"


def test_an_excerpt_keeps_its_columns():
    problem = Problem(message="wrong", line=1, column=3, source="\x1b\u3164x")
    assert str(problem) == "1:3: wrong\n   1 | \ufffd\ufffdx\n     |   ^"


def test_differences_hide_nothing():
    difference = Difference(name="url", type=UNSEEN, before=UNSEEN, here=UNSEEN, remedy=UNSEEN)
    described = describe_differences(UNSEEN, [difference, difference])
    assert [line.isprintable() for line in described.split("\n")] == [True, True]
    assert str(ProvenanceError(UNSEEN, [difference])).isprintable()
