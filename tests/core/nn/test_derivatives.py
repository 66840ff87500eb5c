"""Gradients that may not be differentiated."""

import pytest
import torch

from noether_core.errors import DerivativeError
from noether_core.nn.operators import is_transformed, refuse_derivatives


class Cubed(torch.autograd.Function):
    """A cube whose backward pass computes numbers."""

    @staticmethod
    def forward(ctx, x, unused):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        with torch.no_grad():
            found = 3 * x**2 * gradient
        return refuse_derivatives([found, None], "cube: none", of=(gradient, x))


@pytest.fixture
def x():
    return torch.tensor([2.0, -3.0], requires_grad=True)


def test_first_derivatives_are_as_they_are(x):
    (found,) = torch.autograd.grad(Cubed.apply(x, None).sum(), x)
    assert found.tolist() == [12, 27]
    assert not found.requires_grad


@pytest.mark.parametrize(
    "weight", [torch.ones(2), torch.ones(2, requires_grad=True)], ids=["constant", "trained"]
)
def test_second_derivatives_raise_whoever_asks(x, weight):
    (found,) = torch.autograd.grad((Cubed.apply(x, None) * weight).sum(), x, create_graph=True)
    assert found.tolist() == [12, 27]
    with pytest.raises(DerivativeError, match="cube: none"):
        torch.autograd.grad(found.sum(), x, retain_graph=True)
    with pytest.raises(DerivativeError, match="cube: none"):
        found.sum().backward()


def test_gradients_of_constants_are_constants(x):
    assert (
        refuse_derivatives([torch.ones(2), None], "none", of=(x.detach(), None))[0].requires_grad
        is False
    )


def test_transforms_and_forward_mode_are_seen_while_they_look_on(x):
    seen = []

    def watched(x):
        seen.append(is_transformed())
        return x.square().sum()

    watched(x)
    torch.func.grad(watched)(x)
    torch.func.vmap(watched)(x.view(2, 1))
    with torch.autograd.forward_ad.dual_level():
        watched(x)
    assert seen == [False, True, True, True]
    assert not is_transformed()
