"""Errors of numbers, relative to what is wanted."""

from __future__ import annotations

import pytest
import torch

from noether_core.testing.comparing import are_alike, largest_error, relative_error


def test_errors_are_relative_and_infinite_where_numbers_are_not_finite():
    one = torch.tensor([2.0, 4.0], dtype=torch.float64)
    assert largest_error(one + torch.tensor([0.0, 1.0]), one) == 0.25
    assert relative_error(1.5 * one, one) == pytest.approx(0.5)
    assert largest_error(one / 0, one) == relative_error(one / 0, one) == float("inf")
    assert are_alike(one, one + 1e-12)
    assert not are_alike(one, one[:1])
