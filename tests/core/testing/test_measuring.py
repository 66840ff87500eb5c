"""What torch does in a call, counted."""

from __future__ import annotations

import torch
from torch import nn

from noether_core.testing.measuring import Consumption, Operations


def test_operations_are_written_down_with_shapes():
    with Operations() as operations:
        torch.ones(2, 3) @ torch.ones(3, 5)
    assert ("aten.mm.default", ((2, 5),)) in operations.seen


def test_work_is_multiplications_and_what_is_read_and_written():
    x, weight = torch.ones(7, 3), torch.ones(3, 5)
    with Consumption() as consumption:
        _ = x @ weight
    assert consumption.work == 2 * 7 * 3 * 5 + 7 * 3 + 3 * 5 + 7 * 5


def test_views_cost_nothing():
    x = torch.ones(7, 3)
    with Consumption() as consumption:
        x.t().unsqueeze(0)
    assert (consumption.work, consumption.peak) == (0, 0)


def test_the_peak_is_what_is_held_at_once():
    x = torch.ones(1000)
    with Consumption() as consumption:
        y = x + 1
        for _ in range(5):
            y = y + 1
    assert consumption.peak == 2 * 4000


def test_what_the_backward_pass_needs_is_held():
    x = torch.ones(1000, requires_grad=True)
    with Consumption() as consumption:
        y = x
        for _ in range(5):
            y = y.sin()
    assert consumption.peak == 5 * 4000


def test_attention_counts_every_pair_whatever_kernel_computes_it():
    counted = []
    for tokens in (64, 128):
        queries = torch.ones(1, 1, tokens, 8)
        with Consumption() as consumption:
            nn.functional.scaled_dot_product_attention(queries, queries, queries)
        counted.append(consumption.work)
    assert counted[0] > 4 * 64 * 64 * 8
    assert counted[1] > 3.5 * counted[0]
