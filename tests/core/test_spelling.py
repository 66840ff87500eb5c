"""The name that a misspelt one was meant to be."""

from __future__ import annotations

import pytest

from noether_core.spelling import did_you_mean, nearest

NAMES = ("num_slices", "num_heads", "hidden_dim", "GELU", "SILU")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("num_slice", "num_slices"),
        ("num_slices", "num_slices"),
        ("NUM_HEADS", "num_heads"),
        ("gelu", "GELU"),
        ("hiden_dim", "hidden_dim"),
        ("zzz", None),
        ("", None),
        ("num_slices" * 100, None),
        (3, None),
        (None, None),
        (["num_slices"], None),
    ],
)
def test_the_nearest_name_is_found_whatever_its_case_and_only_where_one_is_near(name, meant):
    assert nearest(name, NAMES) == meant
    assert did_you_mean(name, NAMES) == (None if meant is None else f"did you mean '{meant}'?")


def test_very_long_names_are_not_compared():
    assert nearest("x" * 200, ["x" * 199]) == "x" * 199
    assert nearest("x" * 201, ["x" * 200]) is None


def test_of_no_names_none_is_near():
    assert nearest("num_heads", ()) is None


def test_names_may_come_once():
    assert nearest("num_head", iter(NAMES)) == "num_heads"
