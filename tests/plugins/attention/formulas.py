"""What formulas of several variants are made of, in plain operations, and the comparison with a
module.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn


def linear(state: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Apply the linear layer that *state* stores under *name*."""
    return torch.einsum("...i,oi->...o", x, state[f"{name}.weight"]) + state.get(
        f"{name}.bias", 0.0
    )


def mixed_with_context(
    state: Mapping[str, Tensor], own: Tensor, rows: Tensor, context: Tensor, scale: float
) -> Tensor:
    """Mix what rows of heads have with what they get of a context, both as formulas have them.

    Rows are ``(batch, heads, rows, width)``, and the context ``(batch, heads or 1, context tokens,
    width)``.
    """
    queries = linear(state, "cross_q", rows)
    keys, values = (
        linear(state, f"cross_{name}", context).expand(*rows.shape[:2], -1, -1) for name in "kv"
    )
    logits = scale * torch.einsum("bhid,bhjd->bhij", queries, keys)
    crossed = torch.einsum("bhij,bhjd->bhid", logits.softmax(-1), values)
    if "state_mixing" in state:
        share = 1 / (1 + (-state["state_mixing"]).exp())
        return share * own + (1 - share) * crossed
    z = linear(state, "concat_project.0", torch.cat([own, crossed], -1))
    return z / 2 * (1 + (z / 2**0.5).erf())


def rms_normed(x: Tensor, weight: Tensor) -> Tensor:
    """Divide by the root mean square, with the machine epsilon of float32."""
    return x / (x.square().mean(-1, keepdim=True) + 2.0**-23).sqrt() * weight


def rotated(x: Tensor, points: Tensor, form: str) -> Tensor:
    """Turn the pairs of each coordinate, as many as fit; features that are left over stay."""
    per_axis = x.shape[-1] // points.shape[-1] // 2 * 2
    columns = list(x.unbind(-1))
    for axis, i in itertools.product(range(points.shape[-1]), range(per_axis // 2)):
        angle = points[:, None, :, axis] * 10000 ** (-2 * i / per_axis)
        first = axis * per_axis + (2 * i if form == "complex" else i)
        second = first + (1 if form == "complex" else per_axis // 2)
        a, b = x[..., first], x[..., second]
        columns[first], columns[second] = (
            a * angle.cos() - b * angle.sin(),
            b * angle.cos() + a * angle.sin(),
        )
    return torch.stack(columns, -1)


def with_own_norms(module: nn.Module) -> nn.Module:
    """Return the module in float64, with weights of its norms that are not all one."""
    module.double()
    for name, parameter in module.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return module


def assert_same_numbers(
    got: Tensor, wanted: Tensor, inputs: Sequence[Tensor], atol: float = 1e-12
) -> None:
    """Compare outputs, and the gradients of *inputs* for one random cotangent."""
    torch.testing.assert_close(got, wanted, rtol=0, atol=atol)
    cotangent = torch.randn_like(wanted)
    pairs = zip(
        torch.autograd.grad(got, inputs, cotangent),
        torch.autograd.grad(wanted, inputs, cotangent),
        strict=True,
    )
    for gradient, gradient_wanted in pairs:
        torch.testing.assert_close(gradient, gradient_wanted, rtol=0, atol=10 * atol)


@torch.no_grad()
def assert_dropout_of_context(module: nn.Module, x: Tensor, context: Tensor) -> None:
    """Check what a module drops of a context, for one sample.

    The context alone counts in the result, of which some is dropped besides.
    """
    module.state_mixing.fill_(-1e3)
    module.out_linear.weight.copy_(torch.eye(len(module.out_linear.weight)))
    module.out_linear.bias.zero_()
    kept = module.eval()(x, context=context)
    draws = 2000
    many, contexts = (each.expand(draws, *each.shape[1:]) for each in (x, context))
    results = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        results.append(module.train()(many, context=contexts))
    assert torch.equal(results[0], results[1])
    assert not torch.allclose(results[0], results[2])

    # Every sample and every row has draws of its own, and their mean is what nothing drops.
    drawn = results[0]
    unless_dropped = kept / (1 - module.dropout)
    assert not (torch.isclose(drawn, unless_dropped) | (drawn == 0)).all()
    assert drawn.flatten(1).unique(dim=0).shape[0] > 0.99 * draws
    error = drawn.std(dim=0) / draws**0.5
    assert ((drawn.mean(dim=0) - kept[0]).abs() < 5 * error).all()
