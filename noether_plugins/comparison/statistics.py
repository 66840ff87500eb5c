"""Which rows are better than which: scores over seeds, their spread, ties and ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from noether_plugins.comparison.record import Row

CONFIDENCE = 0.95
"""Share of the intervals that hold what they are of."""

_RESAMPLES = 4000

_SEED = 0
"""Of the resampling: the same rows have the same ranks each time."""

_PRIOR = 2.0
"""Degrees of freedom that the spread of a typical row counts for, beside the row's own."""

_NEVER = 1e6
"""Standard errors that stand for infinitely many."""

_TINY = 1e-300

FloatArray = NDArray[np.float64]


def ranked(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Fill in score, interval, rank and ties, and sort by rank and score.

    The **score** of a seed is the mean over fields of the error over that of predicting the mean,
    and that of a row the mean over its seeds. A seed of a row that lacks a field which other rows
    have, such as one that diverged, has no score: the others alone would flatter it. Rows of one
    seed have seen the same samples, so that two rows are compared by the differences of their
    scores, seed by seed. They are **tied** where the interval of the mean difference holds 0, and
    where they are the same computation. The **rank** is 1 and the number of rows that are better
    and not tied. With one seed there is no spread to compare with, and all are tied.

    The interval is a studentised bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap,
    1993, chapter 12) in which rows lend each other their spread, as genes do in Smyth, Linear
    Models and Empirical Bayes Methods, 2004. Three seeds of one pair are too few for any bootstrap
    of their own: resampled means never leave the range of the three differences, and exclude 0
    whenever these have one sign, which chance does in a quarter of all cases. See `Spread`.

    Args:
        rows: Rows of one comparison, whose ratios stand in the order of its seeds; None where a
            seed has not ended.

    Returns:
        The rows; those without a score come last, in the order of their names.
    """
    wanted = _fields_by_seed(rows)
    scored = [row for row in rows if row.status != "failed" and _scores(row, wanted)]
    others = sorted((row for row in rows if row not in scored), key=lambda row: row.name)
    others = [
        attrs.evolve(row, score=None, interval=None, rank=None, tied_with=()) for row in others
    ]
    if not scored:
        return tuple(others)

    table = _table(scored, wanted)
    spread, spread_alone = Spread.of(table), Spread.of(table, is_paired=False)
    means = np.nanmean(table, axis=1)
    better = _better(scored, table, spread)
    tied = ~(better | better.T)

    filled: list[Row] = []
    for number, row in enumerate(scored):
        names = [scored[other].name for other in np.flatnonzero(tied[number]) if other != number]
        filled.append(
            attrs.evolve(
                row,
                score=float(means[number]),
                interval=_interval(table, spread_alone, number),
                rank=1 + int(better[:, number].sum()),
                tied_with=tuple(sorted(names)),
            )
        )
    filled.sort(key=lambda row: (row.rank or 0, row.score or 0.0, row.name))
    return (*filled, *others)


def _fields_by_seed(rows: Sequence[Row]) -> dict[int, frozenset[str]]:
    """Return by seed, from 0, the fields of which some row has a ratio."""
    fields: dict[int, frozenset[str]] = {}
    for row in rows:
        for seed, ratios in _ratios(row).items():
            fields[seed] = fields.get(seed, frozenset()) | ratios.keys()
    return fields


def _ratios(row: Row) -> dict[int, dict[str, float]]:
    """Return by seed the ratios of those fields that have one."""
    ratios: dict[int, dict[str, float]] = {}
    for name, values in row.ratios.items():
        for seed, ratio in enumerate(values):
            if ratio is not None and math.isfinite(ratio):
                ratios.setdefault(seed, {})[name] = ratio
    return ratios


def _scores(row: Row, wanted: Mapping[int, frozenset[str]]) -> dict[int, float]:
    """Return by seed the mean ratio over the fields, for those seeds that have all *wanted*."""
    return {
        seed: math.fsum(ratios.values()) / len(ratios)
        for seed, ratios in _ratios(row).items()
        if ratios.keys() >= wanted[seed]
    }


def _table(rows: Sequence[Row], wanted: Mapping[int, frozenset[str]]) -> FloatArray:
    """Return scores, a row for each row and a column for each seed; nan where there is none."""
    scores = [_scores(row, wanted) for row in rows]
    seeds = sorted({seed for each in scores for seed in each})
    return np.array([[each.get(seed, math.nan) for seed in seeds] for each in scores])


def _better(rows: Sequence[Row], table: FloatArray, spread: Spread) -> NDArray[np.bool_]:
    """Return whether each row, down, is better than each other, across, beyond the spread."""
    count = len(rows)
    better = np.zeros((count, count), dtype=np.bool_)
    for first in range(count):
        for second in range(count):
            is_one = rows[second].name in rows[first].same_as
            if first == second or is_one or rows[first].name in rows[second].same_as:
                continue
            interval = spread.interval_of_difference(table, first, second)
            better[first, second] = interval is not None and interval[1] < 0
    return better


def _interval(table: FloatArray, spread: Spread, number: int) -> tuple[float, float] | None:
    scores = table[number][~np.isnan(table[number])]
    reach = spread.reach([number], len(scores))
    if not math.isfinite(reach):
        return None
    mean = float(scores.mean())
    return max(0.0, mean - reach), mean + reach


@attrs.frozen(eq=False)
class Spread:
    """How far means over seeds may be off: by row, and how many standard errors are believed.

    Residuals are scores over the mean of their row, less what all rows have in common in that seed.
    The variance of a row is its own, shrunk towards the median over rows; the median, since one row
    that diverged in one seed must not make ties of all others. Residuals over their standard
    deviation, of all rows together, are what is resampled: whole tables of them, from which every
    variance is estimated anew. So the number of standard errors comes out larger where there are
    few rows and seeds, as Student's does.
    """

    deviations: FloatArray
    """By row the standard deviation of a score over seeds, in units of the score."""

    critical: float
    """Standard errors on either side of a mean, or of a difference of two; infinite where there are
    too few seeds and rows to know.
    """

    @classmethod
    def of(cls, table: FloatArray, *, is_paired: bool = True) -> Spread:
        """Measure the spread in a table of scores.

        Args:
            table: ``(rows, seeds)``; nan where there is none. Rows that lack a seed have the spread
                of a typical row.
            is_paired: Whether differences of rows are looked at, in which what all rows have in
                common does not count; else each row alone.
        """
        means = np.nanmean(table, axis=1)
        sizes = np.where(means > 0, means, 1.0)
        whole = ~np.isnan(table).any(axis=1)
        n_rows, n_seeds = int(whole.sum()), table.shape[1]
        unknown = cls(np.full(len(table), math.nan), math.inf)
        if n_seeds == 1 or n_rows < (2 if is_paired else 1):
            return unknown

        residuals = _residuals(table[whole] / sizes[whole, None], is_paired=is_paired)
        variances = _variances(residuals)
        typical = float(np.median(residuals.var(axis=1, ddof=1)))
        if typical == 0.0 and not variances.any():  # all seeds gave the same
            return cls(np.zeros(len(table)), 0.0)

        deviations = np.full(len(table), math.sqrt(typical))
        deviations[whole] = np.sqrt(variances)
        pool = residuals / np.sqrt(np.where(variances > 0, variances, 1.0))[:, None]
        critical = _critical(pool - pool.mean(), is_paired=is_paired)
        return cls(deviations * sizes, critical)

    def reach(self, rows: Sequence[int], n_seeds: int) -> float:
        """Return how far the mean over seeds, or a difference of means, may be off.

        Args:
            rows: One row, or two.
            n_seeds: Over how many seeds the mean is.
        """
        error = math.sqrt(sum(float(self.deviations[row]) ** 2 for row in rows) / n_seeds)
        return self.critical * error if math.isfinite(self.critical) else math.inf

    def interval_of_difference(
        self, table: FloatArray, first: int, second: int
    ) -> tuple[float, float] | None:
        """Return the interval of *first* less *second*, over the seeds that both have.

        None where there are fewer than two of these, or too few seeds and rows for an interval.
        """
        differences = table[first] - table[second]
        differences = differences[~np.isnan(differences)]
        if len(differences) < 2:  # noqa: PLR2004  one has no spread
            return None
        mean, reach = float(differences.mean()), self.reach([first, second], len(differences))
        return (mean - reach, mean + reach) if math.isfinite(reach) else None


def _residuals(table: FloatArray, *, is_paired: bool) -> FloatArray:
    """Return what is left of ``(..., rows, seeds)`` without the means of rows and what is common.

    What all rows have in common in a seed is the median over them, which no single row moves far.
    """
    centred: FloatArray = table - table.mean(axis=-1, keepdims=True)
    if not is_paired:
        return centred
    centred = centred - np.median(centred, axis=-2, keepdims=True)
    residuals: FloatArray = centred - centred.mean(axis=-1, keepdims=True)
    return residuals


def _variances(residuals: FloatArray) -> FloatArray:
    """Return by row the variance, shrunk towards the median: ``(..., rows)``."""
    own = residuals.var(axis=-1, ddof=1)
    typical = np.median(own, axis=-1, keepdims=True)
    freedom = residuals.shape[-1] - 1
    shrunk: FloatArray = (_PRIOR * typical + freedom * own) / (_PRIOR + freedom)
    return shrunk


def _critical(pool: FloatArray, *, is_paired: bool) -> float:
    """Return how many standard errors hold the mean, or a difference, in 95 % of all tables."""

    def statistic(values: FloatArray, axis: int) -> FloatArray:
        table = np.moveaxis(values, axis, -1).reshape(*values.shape[:-1], *pool.shape)
        variances = _variances(_residuals(table, is_paired=is_paired))
        means = table.mean(axis=-1)
        off, squares = means[..., 0], variances[..., 0]
        if is_paired:
            off, squares = off - means[..., 1], squares + variances[..., 1]
        errors = np.sqrt(squares / pool.shape[1])
        # A table whose resampled residuals are all alike has no spread to divide by.
        studentised = np.abs(off) / np.maximum(errors, np.abs(off) / _NEVER + _TINY)
        return np.asarray(studentised, dtype=np.float64)

    resampled: Any = stats.bootstrap(
        (pool.ravel(),),
        statistic,
        n_resamples=_RESAMPLES,
        vectorized=True,
        method="percentile",
        random_state=np.random.default_rng(_SEED),
    )
    critical = float(np.quantile(resampled.bootstrap_distribution, CONFIDENCE))
    return critical if critical < _NEVER / 2 else math.inf


def says_nothing(rows: Sequence[Row]) -> bool:
    """Return whether no row may be called better: none has scores from two seeds."""
    wanted = _fields_by_seed(rows)
    return all(len(_scores(row, wanted)) < 2 for row in rows)  # noqa: PLR2004  one has no spread


def mean_and_spread(values: Sequence[float | None]) -> tuple[float, float | None] | None:
    """Return mean and standard deviation over seeds; None where there are no values.

    The deviation is None with one value.
    """
    known = [value for value in values if value is not None]
    if not known:
        return None
    deviation = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return math.fsum(known) / len(known), deviation


def means_of(values: Mapping[str, Sequence[float | None]]) -> dict[str, float]:
    """Return by name the means of those that have one."""
    found = {name: mean_and_spread(each) for name, each in values.items()}
    return {name: each[0] for name, each in found.items() if each is not None}
