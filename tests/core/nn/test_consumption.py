"""What a call takes, counted operation by operation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from noether_core.nn.consumption import Consumption, TooManyCallsError


def test_attention_counts_two_products_forward_and_five_backward():
    queries = torch.rand(2, 3, 11, 5, requires_grad=True)
    product = 2 * 2 * 3 * 11 * 11 * 5
    with Consumption() as forward:
        y = nn.functional.scaled_dot_product_attention(queries, queries, queries)
    with Consumption() as backward:
        y.sum().backward()
    assert (forward.operations, backward.operations) == (2 * product, 5 * product)


def test_a_call_that_goes_on_and_on_is_ended():
    x = torch.rand(3, 3, requires_grad=True)
    consumption = Consumption(most_calls=10)

    def go_on():
        with consumption:
            for _ in range(100):
                x @ x.t()

    with pytest.raises(TooManyCallsError):
        go_on()
    assert consumption.calls in {11, 12, 13}
