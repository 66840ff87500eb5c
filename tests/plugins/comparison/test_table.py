"""The table of a comparison, and what stands below it."""

from __future__ import annotations

import itertools

import attrs
import pytest

from noether_plugins.comparison.record import Timing
from noether_plugins.comparison.table import markdown, text
from noether_plugins.comparison.ties import tie_letters
from tests.plugins.comparison import made


@pytest.fixture(scope="module")
def comparison():
    return made.comparison(failed=("gale",))


@pytest.mark.parametrize("width", [80, 120, 300])
def test_every_column_of_every_row_stands_there_and_no_line_is_too_long(comparison, width):
    lines = text(comparison, width=width).splitlines()
    assert max(map(len, lines)) <= width
    whole = "\n".join(lines)
    for title in ("surface.pressure", "volume.velocity", "ms/step", "MiB/step", "provider"):
        assert title in whole
    for row in comparison.rows:
        if row.parameters is not None:
            line = next(line for line in lines if f" {row.parameters:,} " in line)
            assert row.name in line


def test_numbers_have_their_spread(comparison):
    row = comparison.rows[0]
    low, high = row.interval
    assert f"{row.score:.3f} [{low:.3f}, {high:.3f}]" in text(comparison)
    assert f"{1e3 * row.step.median:.1f} [{1e3 * row.step.lower:.1f}, " in text(comparison)


def test_what_failed_what_is_one_computation_and_what_was_dropped_is_said(comparison):
    said = text(comparison, width=300)
    assert "gale failed: ValueError: too few points" in said
    assert "dot_product, mixed and perceiver are one computation" in said
    dropped = sum(row.step.dropped for row in comparison.rows if row.step)
    assert f"{dropped} of {dropped + 15 * 15} samples were dropped" in said
    assert "Seeds 0, 1, 2; 700 steps" in said
    assert "Machine: AMD EPYC, cores: 2, memory: 25 GiB, threads of a run: 2; torch 2.9.1" in said


def test_a_row_that_could_not_be_timed_has_no_time(comparison):
    first, *others = comparison.rows
    none = Timing(median=None, lower=None, upper=None, samples=0, dropped=45)
    first = attrs.evolve(first, step=none, tokens_per_second=None)  # its runs had some pace
    said = text(attrs.evolve(comparison, rows=(first, *others)), width=300)
    assert f"The machine was busy in all samples of {first.name}." in said
    assert "busy  " in next(line for line in said.splitlines() if first.name in line)


def test_with_one_seed_all_is_said_to_be_tied():
    said = text(made.comparison(("linear", "mixed"), n_seeds=1), width=300)
    assert "One seed says nothing about differences" in said
    assert "share a letter" not in said


def test_markdown_has_a_line_for_each_row_and_shows_names_as_they_are(comparison):
    lines = markdown(comparison).splitlines()
    assert len({line.replace("\\|", "").count("|") for line in lines[: 2 + 16]}) == 1
    assert any("transolver\\_plusplus" in line for line in lines)
    harmful = attrs.evolve(comparison.rows[0], name="a|b<i>\x1b[2J")
    said = markdown(attrs.evolve(comparison, rows=(harmful,)))
    assert "a\\|b\\<i\\>" in said
    assert "\x1b" not in said


def test_two_rows_share_a_letter_just_where_they_are_tied(comparison):
    letters = tie_letters(comparison.rows)
    assert "gale" not in letters
    ranked = [row for row in comparison.rows if row.rank]
    for first, second in itertools.combinations(ranked, 2):
        is_shared = bool({*letters[first.name]} & {*letters[second.name]})
        assert is_shared is (second.name in first.tied_with)
    assert letters[ranked[0].name].startswith("a")
