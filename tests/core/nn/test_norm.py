"""The norm of queries and keys."""

import pytest
import torch

from noether_core.nn import RMSNorm

EPS = 2.0**-23


def formula(x, weight):
    return weight * x / (x.square().mean(-1, keepdim=True) + EPS).sqrt()


@pytest.mark.parametrize("scale", [1.0, 1e-4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_formula_with_the_epsilon_of_float32_for_every_dtype(dtype, scale):
    norm = RMSNorm(5).to(dtype)
    torch.nn.init.uniform_(norm.weight)
    x = torch.randn(2, 3, 11, 5, dtype=dtype) * scale

    torch.testing.assert_close(
        norm(x), formula(x, norm.weight), rtol=4 * torch.finfo(dtype).eps, atol=0
    )


def test_weights_start_at_one_and_are_stored_as_weight():
    state = RMSNorm(5).state_dict()
    assert list(state) == ["weight"]
    assert torch.equal(state["weight"], torch.ones(5))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_inputs_meet_wide_weights_and_keep_their_dtype(dtype):
    x = torch.randn(2, 11, 5).to(dtype)
    y = RMSNorm(5)(x)
    assert y.dtype == dtype
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(y.double(), formula(x.double(), 1.0), rtol=eps, atol=eps)
