"""Slices against a loop over tokens and slices."""

import math

import pytest
import torch

from noether_core.nn import gather_slices, read_slices

BATCH, HEADS, TOKENS, WIDTH, SLICES = 2, 3, 11, 5, 7
MASKS = {
    "no mask": None,
    "all real": torch.ones(BATCH, TOKENS, dtype=torch.bool),
    "some real": torch.arange(TOKENS) < torch.tensor([[7], [5]]),
    "scattered": torch.arange(TOKENS) % 3 != torch.tensor([[0], [1]]),
    "one sample empty": torch.tensor([[True], [False]]).expand(BATCH, TOKENS),
}

every_mask = pytest.mark.parametrize("real", MASKS.values(), ids=MASKS)


def numbers(*shape):
    return torch.rand(BATCH, HEADS, *shape, dtype=torch.float64, requires_grad=True)


def takes_part(real, b, n):
    return real is None or bool(real[b, n])


def gathered_one_by_one(weights, features, real):
    slices = []
    for b, h, g in torch.cartesian_prod(*map(torch.arange, (BATCH, HEADS, SLICES))).tolist():
        tokens = [n for n in range(TOKENS) if takes_part(real, b, n)]
        total = sum((weights[b, h, n, g] * features[b, h, n] for n in tokens), torch.zeros(WIDTH))
        slices.append(total / (sum(weights[b, h, n, g] for n in tokens) + 1e-5))
    return torch.stack(slices).view(BATCH, HEADS, SLICES, WIDTH)


def read_one_by_one(weights, slices, real):
    tokens = []
    for b, h, n in torch.cartesian_prod(*map(torch.arange, (BATCH, HEADS, TOKENS))).tolist():
        read = sum(weights[b, h, n, g] * slices[b, h, g] for g in range(SLICES))
        tokens.append(read if takes_part(real, b, n) else torch.zeros_like(read))
    return torch.stack(tokens).view(BATCH, HEADS, TOKENS, WIDTH)


def assert_same_numbers_and_gradients(got, wanted, inputs):
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)
    cotangent = torch.randn_like(wanted)
    for gradient, gradient_wanted in zip(
        torch.autograd.grad(got, inputs, cotangent),
        torch.autograd.grad(wanted, inputs, cotangent),
        strict=True,
    ):
        torch.testing.assert_close(gradient, gradient_wanted, rtol=0, atol=1e-12)


@every_mask
def test_a_slice_is_the_weighted_mean_of_real_tokens(real):
    inputs = weights, features = numbers(TOKENS, SLICES), numbers(TOKENS, WIDTH)
    got, wanted = (
        gather_slices(weights, features, real),
        gathered_one_by_one(weights, features, real),
    )
    assert_same_numbers_and_gradients(got, wanted, inputs)


@every_mask
def test_a_real_token_reads_the_weighted_sum_of_slices(real):
    inputs = weights, slices = numbers(TOKENS, SLICES), numbers(SLICES, WIDTH)
    got, wanted = read_slices(weights, slices, real), read_one_by_one(weights, slices, real)
    assert_same_numbers_and_gradients(got, wanted, inputs)


def test_a_slice_without_tokens_is_zero_and_passes_finite_gradients():
    weights, features = (
        torch.zeros(BATCH, HEADS, TOKENS, SLICES, requires_grad=True),
        numbers(TOKENS, WIDTH).float(),
    )
    slices = gather_slices(weights, features)
    (gradient,) = torch.autograd.grad(slices.sum(), weights)
    assert not slices.any()
    assert gradient.isfinite().all()
    assert not gather_slices(weights[:, :, :0], features[:, :, :0]).any()


def test_what_stands_in_padding_does_not_matter_even_where_it_is_no_number():
    real = MASKS["some real"]
    weights, features, slices = (
        numbers(TOKENS, SLICES),
        numbers(TOKENS, WIDTH),
        numbers(SLICES, WIDTH),
    )
    strange = features.detach().masked_fill(~real[:, None, :, None], math.nan)
    assert torch.equal(
        gather_slices(weights, strange, real), gather_slices(weights, features, real)
    )
    strange = weights.detach().masked_fill(~real[:, None, :, None], math.nan)
    assert torch.equal(read_slices(strange, slices, real), read_slices(weights, slices, real))


def test_equal_tokens_come_back_through_slices_as_they_were():
    weights = torch.softmax(numbers(TOKENS, SLICES), -1)
    same = torch.randn(WIDTH, dtype=torch.float64).expand(BATCH, HEADS, TOKENS, WIDTH)
    torch.testing.assert_close(
        read_slices(weights, gather_slices(weights, same)), same, rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("is_autocast", [True, False])
def test_sums_over_many_tokens_do_not_leave_float16(is_autocast):
    tokens = 200_003
    weights = torch.full(
        (1, 1, tokens, 2), 0.5, dtype=torch.float32 if is_autocast else torch.float16
    )
    features = torch.full((1, 1, tokens, 3), 5.0, dtype=torch.float16)
    with torch.autocast("cpu", torch.float16, enabled=is_autocast):
        slices = gather_slices(weights, features)
    assert torch.equal(slices, torch.full((1, 1, 2, 3), 5.0, dtype=torch.float16))
