"""Calls of any size: primes, groups that add up, and shorter calls."""

from __future__ import annotations

import attrs
import pytest
import torch

from noether_core import TokenSpec
from noether_core.testing import calls


def test_sizes_are_different_primes_that_no_option_has():
    sizes = calls.Sizes.unlike([2, 3, 13, None, "7"])
    different = set(attrs.astuple(sizes))
    assert len(different) == 3
    assert not {2, 3, 13} & different
    assert sizes.tokens > 13


@pytest.mark.parametrize(
    ("groups", "tokens", "sizes"),
    [
        ({}, 13, [2, 4, 3, 4]),
        ({}, 3, [0, 3, 0, 0]),
        ({"queries": None, "anchors": 4}, 11, [7, 4]),
        ({"queries": None, "anchors": 4}, 0, [0, 0]),
        ({"anchors": 4}, 9, [9]),
    ],
)
def test_groups_add_up_to_the_tokens_and_fixed_ones_stay(groups, tokens, sizes):
    specs = calls.specs_of(groups, tokens)
    assert [spec.size for spec in specs] == sizes
    assert sum(sizes) == tokens


def test_a_context_belongs_to_samples_and_to_no_token():
    arguments = {"x": torch.ones(2, 5, 3), "context": torch.ones(2, 7, 11)}
    assert calls.shortened(arguments, 3)["context"] is arguments["context"]
    assert calls.samples(arguments, slice(1))["context"].shape == (1, 7, 11)


def test_a_shorter_call_cuts_its_keys_and_their_groups():
    arguments = {"x": torch.ones(2, 5, 3), "token_specs": [TokenSpec("a", 2), TokenSpec("b", 3)]}
    short = calls.shortened(arguments, 3)
    assert short["x"].shape == (2, 3, 3)
    assert [spec.size for spec in short["token_specs"]] == [2, 1]
    cross = calls.shortened({"q": torch.ones(2, 5, 3), "kv": torch.ones(2, 7, 3)}, 4)
    assert (cross["q"].shape[1], cross["kv"].shape[1]) == (5, 4)
