"""Scores, spreads, ties and ranks."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest

from noether_plugins.comparison.record import Row
from noether_plugins.comparison.statistics import (
    Spread,
    mean_and_spread,
    ranked,
    says_nothing,
)


def _row(name, *scores, status="complete", **others):
    """Return a row with one field, whose ratios are *scores*."""
    ratios = {"wall.p": scores} if scores else {}
    return Row(
        name=name,
        type=name,
        provider="acme",
        version="1.0",
        status=status,
        attention={},
        sources={},
        runs=(),
        ratios=ratios,
        **others,
    )


def _ranks(rows):
    return {row.name: row.rank for row in rows}


def _share_called_different(table):
    """Return of how many pairs of rows one is called better."""
    spread = Spread.of(table)
    pairs = [(first, second) for second in range(len(table)) for first in range(second)]
    called: list[bool] = []
    for pair in pairs:
        interval = spread.interval_of_difference(table, *pair)
        called.append(interval is not None and not interval[0] <= 0 <= interval[1])
    return np.mean(called)


def test_a_score_is_the_mean_over_fields_and_then_over_seeds():
    row = _row("a")
    ratios = {"wall.p": (0.2, 0.4), "fluid.u": (0.6, None), "fluid.v": (None, None)}
    (found,) = ranked([attrs.evolve(row, ratios=ratios)])
    assert found.score == pytest.approx(((0.2 + 0.6) / 2 + 0.4) / 2)


def test_a_row_that_diverged_in_one_field_is_not_judged_by_the_others():
    sound = attrs.evolve(_row("sound"), ratios={"wall.p": (0.5, 0.5), "fluid.u": (0.4, 0.5)})
    diverged = attrs.evolve(
        _row("diverged"), ratios={"wall.p": (None, None), "fluid.u": (0.1, 0.1)}
    )
    once = attrs.evolve(_row("once"), ratios={"wall.p": (0.6, None), "fluid.u": (0.6, 0.1)})

    first, second, last = ranked([diverged, once, sound])

    assert (first.name, second.name, last.name) == ("sound", "once", "diverged")
    assert (last.score, last.rank) == (None, None)
    assert second.score == pytest.approx(0.6)


def test_rows_that_differ_by_more_than_their_spread_have_ranks_of_their_own():
    rows = [_row("c", 0.90, 0.92, 0.91), _row("a", 0.30, 0.31, 0.32), _row("b", 0.60, 0.62, 0.59)]
    found = ranked(rows)
    assert [row.name for row in found] == ["a", "b", "c"]
    assert _ranks(found) == {"a": 1, "b": 2, "c": 3}
    assert all(row.tied_with == () for row in found)


def test_rows_within_the_spread_are_tied_and_share_a_rank():
    rows = [
        _row("a", 0.30, 0.33, 0.27),
        _row("b", 0.31, 0.28, 0.34),
        _row("c", 0.91, 0.88, 0.93),
    ]
    found = ranked(rows)
    assert _ranks(found) == {"a": 1, "b": 1, "c": 3}
    assert found[0].tied_with == ("b",)
    assert found[2].tied_with == ()


def test_what_all_rows_have_in_common_in_a_seed_makes_no_tie():
    seeds = np.array([0.0, 0.2, 0.4])
    rows = [
        _row("a", *(0.30 + seeds + [0.001, -0.001, 0.0])),
        _row("b", *(0.33 + seeds + [-0.001, 0.0, 0.001])),
        _row("c", *(0.36 + seeds + [0.0, 0.001, -0.001])),
    ]
    assert _ranks(ranked(rows)) == {"a": 1, "b": 2, "c": 3}


def test_with_one_seed_nothing_is_better():
    found = ranked([_row("a", 0.1), _row("b", 0.9)])
    assert _ranks(found) == {"a": 1, "b": 1}
    assert found[0].tied_with == ("b",)
    assert found[0].interval is None
    assert says_nothing(found)


def test_two_seeds_of_two_rows_are_too_few_to_call_one_better():
    found = ranked([_row("a", 0.1, 0.11), _row("b", 0.9, 0.92)])
    assert _ranks(found) == {"a": 1, "b": 1}


def test_one_computation_is_tied_with_itself_whatever_its_seeds_gave():
    rows = [
        _row("a", 0.30, 0.31, 0.32, same_as=("b",)),
        _row("b", 0.60, 0.62, 0.59),
        _row("c", 0.90, 0.92, 0.91),
    ]
    assert _ranks(ranked(rows)) == {"a": 1, "b": 1, "c": 3}


def test_a_failed_row_has_no_rank_and_comes_last():
    found = ranked([_row("z", status="failed"), _row("b", 0.5, 0.5), _row("a", status="failed")])
    assert [row.name for row in found] == ["b", "a", "z"]
    assert [row.rank for row in found] == [1, None, None]


def test_a_seed_that_is_missing_is_left_out_of_the_pairs_that_lack_it():
    rows = [
        _row("a", 0.30, None, 0.32),
        _row("b", 0.60, 0.62, 0.59),
        _row("c", 0.90, 0.92, 0.91),
        _row("d", 0.31, None, None),
    ]
    found = {row.name: row for row in ranked(rows)}
    assert found["a"].score == pytest.approx(0.31)
    assert found["a"].tied_with == ("d",)
    assert found["d"].tied_with == ("a", "b", "c")  # one seed in common has no spread


def test_one_row_that_diverged_makes_no_ties_of_all_others():
    rows = [
        _row("a", 0.30, 0.31, 0.32),
        _row("b", 0.60, 0.62, 0.59),
        _row("c", 0.90, 0.92, 0.91),
        _row("bad", 0.50, 40.0, 0.52),
    ]
    ranks = _ranks(ranked(rows))
    assert (ranks["a"], ranks["b"], ranks["c"]) == (1, 2, 3)


def test_ranks_are_the_same_each_time_and_in_any_order():
    rows = [_row(name, *values) for name, values in zip("abcd", _table(4, 3), strict=True)]
    once, again = ranked(rows), ranked(rows[::-1])
    assert {row.name: row.tied_with for row in once} == {row.name: row.tied_with for row in again}


def test_seeds_that_all_gave_the_same_are_told_apart_exactly():
    assert _ranks(ranked([_row("a", 0.5, 0.5), _row("b", 0.6, 0.6)])) == {"a": 1, "b": 2}


def _table(n_rows, n_seeds, *, number=0, better=0.0):
    """Return scores of rows around 1, whose seeds have something in common."""
    rng = np.random.default_rng((number, n_rows, n_seeds))
    noise = 0.05 * rng.normal(size=(n_rows, n_seeds)) + 0.03 * rng.normal(size=n_seeds)
    means = np.where(np.arange(n_rows) < n_rows // 2, 1.0 - better, 1.0)
    return means[:, None] * (1 + noise)


@pytest.mark.parametrize(("n_rows", "n_seeds", "n_tables"), [(16, 3, 16), (4, 3, 60), (4, 5, 60)])
def test_of_rows_that_are_equally_good_one_pair_in_twenty_is_called_different(
    n_rows, n_seeds, n_tables
):
    rates = [
        _share_called_different(_table(n_rows, n_seeds, number=number))
        for number in range(n_tables)
    ]
    assert np.mean(rates) <= 0.1  # of each pair alone, resampled, it is 0.5 or 0.25


def test_three_seeds_find_most_differences_of_three_standard_deviations():
    found = []
    for number in range(30):
        table = _table(8, 3, number=number, better=0.15)
        spread = Spread.of(table)
        found += [spread.interval_of_difference(table, 0, other)[1] < 0 for other in range(4, 8)]
    assert np.mean(found) > 0.6


def test_intervals_of_scores_hold_the_true_score():
    held = []
    for number in range(40):
        table = _table(6, 3, number=number)
        spread = Spread.of(table, is_paired=False)
        held += [abs(row.mean() - 1) <= spread.reach([i], 3) for i, row in enumerate(table)]
    assert np.mean(held) >= 0.9


def test_mean_and_spread_over_seeds():
    assert mean_and_spread([1.0, None, 3.0]) == (2.0, pytest.approx(math.sqrt(2)))
    assert mean_and_spread([1.0]) == (1.0, None)
    assert mean_and_spread([None]) is None
