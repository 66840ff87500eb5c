"""Chunks of tokens, cut and joined: the numbers and derivatives of `split` and `cat`."""

import pytest
import torch

from noether_core.nn.chunked import CutTokens, join_tokens
from noether_core.nn.streaming import recomputed
from noether_core.testing.measuring import Consumption

TOKENS = 11


def by_chunks(x, weight, count=4):
    """Return a function of tokens that looks at each twice, chunk by chunk."""
    cut, total = CutTokens(x, count), torch.zeros(())
    for chunk in cut:
        total = total + recomputed(lambda each: each.sin().sum(dim=(1, 2), keepdim=True), chunk)
    results = (recomputed(lambda each: each.exp() @ weight * total, chunk) for chunk in cut)
    return join_tokens(results, x.shape[1])


def at_once(x, weight):
    return x.exp() @ weight * x.sin().sum(dim=(1, 2), keepdim=True)


@pytest.fixture
def given():
    tokens = torch.randn(2, TOKENS, 3, dtype=torch.float64, requires_grad=True)
    return tokens, torch.randn(3, 5, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("count", [1, 4, TOKENS, 20])
def test_numbers_and_gradients_are_those_of_all_tokens_at_once(given, count):
    y, wanted = by_chunks(*given, count), at_once(*given)
    torch.testing.assert_close(y, wanted)
    cotangent = torch.randn_like(y)
    for _ in range(2):  # a graph may be passed again
        got = torch.autograd.grad(y, given, cotangent, retain_graph=True)
        torch.testing.assert_close(got, torch.autograd.grad(wanted, given, cotangent, True))
    with torch.no_grad():
        torch.testing.assert_close(by_chunks(*given, count), wanted)
    tokens, weight = given
    torch.testing.assert_close(by_chunks(tokens.detach(), weight, count), wanted)
    torch.testing.assert_close(by_chunks(tokens, weight.detach(), count), wanted)


def test_second_derivatives_are_right(given):
    assert torch.autograd.gradgradcheck(by_chunks, given)


def test_gradients_may_be_computed_in_batches(given):
    y, directions = by_chunks(*given), torch.randn(7, 2, TOKENS, 5, dtype=torch.float64)
    got = torch.autograd.grad(y, given, directions, is_grads_batched=True)
    wanted = torch.autograd.grad(at_once(*given), given, directions, is_grads_batched=True)
    torch.testing.assert_close(got, wanted)


def test_memory_holds_tokens_results_and_one_chunk():
    beyond = []
    for tokens in (64, 256):
        x, weight = torch.randn(1, tokens, 8, requires_grad=True), torch.randn(8, 8)
        with Consumption() as consumption:
            y = by_chunks(x, weight, 16)
            y.backward(torch.ones_like(y))
        beyond.append(consumption.peak - 3 * x.nbytes)  # the result, and both gradients
    assert beyond[1] - beyond[0] < 64 * 8 * 4  # some bytes a chunk; a copy of all would be thrice
