"""Tables of dear cases: a few of them run every time, and all of them by night."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

ONE_OF_EACH_FORM = ("transolver", "self_anchor", "perceiver", "irregular_nat")
"""Variants that stand for the others: slices, groups, queries that are others, and neighbours."""


def sampled(values: Iterable[Any], *every_time: Any) -> list[Any]:
    """Return *values* for ``parametrize``, with those beside *every_time* marked as nightly.

    A tuple is a value for each of several arguments.
    """
    cases = list(values)
    unknown = set(every_time) - set(cases)
    if unknown:
        raise ValueError(f"every_time: {sorted(unknown)} are none of the cases {cases}")
    by_night = pytest.mark.nightly
    return [
        case
        if case in every_time
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=by_night)
        for case in cases
    ]
