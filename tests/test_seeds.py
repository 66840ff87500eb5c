"""Every test starts from the same random numbers, so that a failure repeats alone."""

import random

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def shared():
    return torch.rand(3)


@pytest.mark.parametrize("again", [1, 2])
def test_a_test_draws_what_it_draws_alone(again, shared):
    seeded = torch.Generator().manual_seed(0)
    assert torch.equal(torch.rand(3), torch.rand(3, generator=seeded))
    assert random.random() == random.Random(0).random()
    assert np.random.random() == np.random.RandomState(0).random_sample()


def test_what_tests_share_is_drawn_from_the_same_numbers(shared):
    assert torch.equal(shared, torch.rand(3))
