"""What a module costs over the bare torch operations of its formula."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention

from noether_core import build
from tests.benchmarks.pairs import Claim, compare

_HEADS = 8
_WIDTH = 256


def claims(*, quick: bool) -> list[Claim]:
    """Measure dot_product forward and backward, with many tokens and with few."""
    return [
        _claim(1024, 1.05, rounds=3 if quick else 41, calls=1 if quick else 3),
        _claim(16, 1.15, rounds=3 if quick else 101, calls=10 if quick else 60),
    ]


def _claim(tokens: int, budget: float, *, rounds: int, calls: int) -> Claim:
    torch.manual_seed(0)
    module = build("dot_product", hidden_dim=_WIDTH, num_heads=_HEADS)
    x = torch.randn(1, tokens, _WIDTH, requires_grad=True)
    return compare(
        f"dot_product / bare operations, {tokens} tokens, forward and backward",
        budget,
        _forward_and_backward(module, x),
        _forward_and_backward(_bare(module), x),
        rounds=rounds,
        calls=calls,
    )


def _forward_and_backward(function: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], None]:
    def step() -> None:
        function(x).sum().backward()

    return step


def _bare(module: torch.nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the formula over the same parameters, with nothing checked."""
    q, k, v, proj = (
        (part.weight, part.bias) for part in (module.q, module.k, module.v, module.proj)
    )

    def attend(x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        queries, keys, values = (
            linear(x, *part).view(batch, tokens, _HEADS, width // _HEADS).transpose(1, 2)
            for part in (q, k, v)
        )
        attended = scaled_dot_product_attention(queries, keys, values)
        return linear(attended.transpose(1, 2).reshape(batch, tokens, width), *proj)

    return attend
