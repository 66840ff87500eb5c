"""Slices to which hardly any token belongs, in half precision: gradients are those of float64."""

import pytest
import torch

from noether_core import build

FORMS = {
    "held": {"backend": "math"},
    "streamed": {"chunk_size": 16},
    "called": {"chunk_size": 16},
}
VARIANTS = {
    "transolver": {"num_slices": 13},
    "transolver, folded": {"num_slices": 7},
    "transolver_plusplus": {"num_slices": 13},
    "transolver_plusplus, sigmoid": {"num_slices": 13, "temperature_activation": "sigmoid"},
}


def made(variant, form, *, dropout=0.0):
    """A module of which the last slices get fewer and fewer tokens, down to 1e-9 of one."""
    torch.manual_seed(3)
    name = variant.partition(",")[0]
    options = {"hidden_dim": 21, "num_heads": 3, "init_weights": "xavier", "dropout": dropout}
    module = build(name, **options, **VARIANTS[variant], **FORMS[form]).double()
    slices = module.in_project_slice.project
    with torch.no_grad():
        for layer in (module.in_project_slice, module.q, module.k):  # nothing else is sharp
            layer.project.weight.mul_(0.1)
        for parameter in getattr(module, "proj_temperature", slices).parameters():
            parameter.mul_(0.1)
        slices.bias.copy_(-torch.linspace(0, 11, len(slices.bias)))
        for parameter in module.parameters():  # of the numbers that half precision has
            parameter.copy_(parameter.half())
    if form == "called":
        for layer in module.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.register_forward_hook(lambda *_: None)
    return module.eval()


def result_and_gradients(module, x, cotangent, *, is_autocast=False):
    leaf = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.float16, enabled=is_autocast):
        y = module(leaf)
        y.backward(cotangent.to(y.dtype))  # which autocast acts on, too
    return {"y": y, "x": leaf.grad} | {key: p.grad for key, p in module.named_parameters()}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("is_autocast", [False, True])
def test_gradients_by_empty_slices_are_those_of_float64(variant, form, is_autocast):
    module = made(variant, form)
    x, cotangent = (30 * torch.randn(2, 43, 21)).half(), torch.randn(2, 43, 21).half()
    wanted = result_and_gradients(module, x.double(), cotangent)
    module.zero_grad(set_to_none=True)

    dtype = torch.float32 if is_autocast else torch.float16
    got = result_and_gradients(module.to(dtype), x.to(dtype), cotangent, is_autocast=is_autocast)

    largest = max(value.norm() for value in wanted.values())
    for key, value in wanted.items():
        error = (got[key].double() - value).norm()
        assert error < 0.02 * value.norm() + 5e-5 * largest, key


def test_dropout_among_slices_holds_products_that_half_precision_does_not():
    module = made("transolver", "held", dropout=0.5).half().train()
    with torch.no_grad():
        module.q.project.weight.mul_(2000)
        module.k.project.weight.mul_(2000)
    assert module(30 * torch.randn(2, 43, 21).half()).isfinite().all()
