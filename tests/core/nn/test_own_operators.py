"""Operators of our own: known to autograd and compilers, and quick to call for the first time."""

import json
import subprocess
import sys

import pytest
import torch
from torch._decomp import get_decompositions

from noether_core.errors import DerivativeError
from noether_core.nn.operators import define_operator, exact_product


def keep(ctx, inputs, output):
    ctx.save_for_backward(output)
    ctx.factor = inputs[1]


def gradients(ctx, gradient):
    (y,) = ctx.saved_tensors
    return gradient * ctx.factor * y, None


exponential = define_operator(
    "tests::exponential",
    "(Tensor x, SymInt factor) -> Tensor",
    lambda x, factor: (x * factor).exp(),
    fake=lambda x, factor: torch.empty_like(x),
    gradients=gradients,
    keep=keep,
)


def test_an_operator_passes_the_checks_of_torch():
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(exponential, (x, 2))
    assert torch.autograd.gradcheck(lambda x: exponential(x, 3), x)


def test_compilers_take_it_whole():
    compiled = torch.compile(
        lambda x: exponential(x, len(x)) + 1, fullgraph=True, dynamic=True, backend="aot_eager"
    )
    for size in (3, 4, 7):
        x = torch.randn(size, requires_grad=True)
        y = compiled(x)
        torch.testing.assert_close(y, (x * size).exp() + 1)
        (found,) = torch.autograd.grad(y.sum(), x)
        torch.testing.assert_close(found, size * (x * size).exp())


def test_formats_without_the_operator_get_what_it_is_made_of():
    doubled = define_operator(
        "tests::doubled",
        "(Tensor x) -> Tensor",
        lambda x: x * 2,
        fake=torch.empty_like,
        decomposition=lambda x: x + x,
    )
    shapes = ({0: torch.export.Dim.DYNAMIC},)

    class Doubled(torch.nn.Module):
        def forward(self, x):
            return doubled(x)

    program = torch.export.export(Doubled(), (torch.randn(3),), dynamic_shapes=shapes)
    written = program.run_decompositions(get_decompositions([doubled]))
    assert ["doubled" in str(each.graph) for each in (program, written)] == [True, False]
    x = torch.randn(7)
    assert torch.equal(written.module()(x), 2 * x)


def test_an_operator_without_gradients_refuses_to_have_any():
    cubed = define_operator(
        "tests::cubed", "(Tensor x) -> Tensor", lambda x: x**3, fake=torch.empty_like
    )
    y = cubed(torch.randn(3, requires_grad=True)).sum()
    with pytest.raises(
        DerivativeError, match="tests::cubed: the operator was defined without gradients"
    ):
        y.backward()


FIRST_CALL = """
import json, sys
import torch
from noether_core import build

many = torch.randn(1, 20_000, 16, requires_grad=True)
build("transolver", hidden_dim=16, num_heads=2, num_slices=64)(many).sum().backward()
points = torch.rand(1, 20_000, 3)
module = build("irregular_nat", hidden_dim=16, num_heads=2, input_dim=3, max_degree=16, radius=0.1)
module(many, positions=points).sum().backward()
seen = {str(op) for op in torch.ops.noether}
print(json.dumps(["torch._dynamo" in sys.modules, sorted(seen)]))
"""


def test_the_first_call_imports_no_compiler():
    found = subprocess.run(
        [sys.executable, "-c", FIRST_CALL], check=True, capture_output=True, text=True, timeout=120
    )
    is_imported, names = json.loads(found.stdout.splitlines()[-1])
    assert not is_imported
    assert {"attend_through_slices", "attend_to_neighbours"} <= set(names)


def test_an_exact_product_has_every_derivative():
    left = torch.randn(2, 3, 1, 2, dtype=torch.float64, requires_grad=True)
    right = torch.randn(3, 2, 1, dtype=torch.float64, requires_grad=True)
    assert torch.equal(exact_product(left, right), left @ right)
    assert torch.autograd.gradcheck(exact_product, (left, right), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(exact_product, (left, right))
    each = torch.vmap(torch.func.grad(lambda one: exact_product(one, right).sin().sum()))(left)
    torch.testing.assert_close(each, ((left @ right).cos() @ right.mT))


def test_autocast_casts_no_exact_product_forward_or_backward():
    left, right = torch.full((1, 1), 1e6, requires_grad=True), torch.full((1, 1), 1e-3)
    with torch.autocast("cpu", torch.float16):
        y = exact_product(left, right)
        (gradient,) = torch.autograd.grad(y, left, torch.full((1, 1), 1e6))
    assert y.item() == pytest.approx(1e3)
    assert gradient.item() == pytest.approx(1e3)


@pytest.mark.filterwarnings("ignore:.torch.jit.trace. is deprecated")
def test_an_exact_product_is_traced_and_compiled():
    left, right = torch.randn(5, 7), torch.randn(7, 2)
    traced = torch.jit.trace(exact_product, (left, right))
    compiled = torch.compile(exact_product, backend="eager", fullgraph=True)
    for made in (traced, compiled):
        assert torch.equal(made(left, right), left @ right)
