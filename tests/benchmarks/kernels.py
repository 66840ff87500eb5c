"""Masks that are described against the same masks written out, and FlexAttention against both."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from noether_core.nn import Causal, SlidingWindow, StructuredMask, attend
from tests.benchmarks.pairs import Claim, compare

_HEADS = 8
_HEAD_DIM = 32
_WINDOW = SlidingWindow(256, 256)


def claims(*, quick: bool) -> list[Claim]:
    """Measure windows and causal attention, forward and with backward, and FlexAttention forward."""
    tokens = 1024 if quick else 8192
    rounds = 2 if quick else 3
    return [
        *(
            _against_dense(name, mask, tokens, budget, backward=backward, rounds=rounds)
            for name, mask, budgets in (("window", _WINDOW, (0.25, 0.3)), ("causal", Causal(), (0.8, 0.8)))
            for backward, budget in zip((False, True), budgets, strict=True)
        ),
        *(_against_flex(name, mask, tokens, rounds) for name, mask in (("window", _WINDOW), ("causal", Causal()))),
    ]


def _against_dense(
    name: str, mask: StructuredMask, tokens: int, budget: float, *, backward: bool, rounds: int
) -> Claim:
    inputs = _inputs(tokens, requires_grad=backward)
    step = _backward if backward else _forward
    return compare(
        f"{name} / mask written out, {tokens} tokens, {'forward and backward' if backward else 'forward'}",
        budget,
        lambda: step(lambda: attend(*inputs, attn_mask=mask)),
        lambda: step(lambda: scaled_dot_product_attention(*inputs, _written_out(mask, tokens))),
        rounds=rounds,
    )


def _against_flex(name: str, mask: StructuredMask, tokens: int, rounds: int) -> Claim:
    """Compare what "auto" takes on this device with FlexAttention."""
    inputs = _inputs(tokens, requires_grad=False)
    return compare(
        f"{name}, auto / flex, {tokens} tokens, forward",
        1.0,
        lambda: _forward(lambda: attend(*inputs, attn_mask=mask)),
        lambda: _forward(lambda: attend(*inputs, attn_mask=mask, backend="flex")),
        rounds=rounds,
    )


def _inputs(tokens: int, *, requires_grad: bool) -> list[Tensor]:
    """Return heads that lie as projections leave them."""
    torch.manual_seed(0)
    return [torch.randn(1, tokens, _HEADS, _HEAD_DIM).transpose(1, 2).requires_grad_(requires_grad) for _ in range(3)]


def _forward(function: Callable[[], Tensor]) -> None:
    with torch.no_grad():
        function()


def _backward(function: Callable[[], Tensor]) -> None:
    function().sum().backward()


def _written_out(mask: StructuredMask, tokens: int) -> Tensor:
    place = torch.arange(tokens)
    distance = place - place[:, None]
    if isinstance(mask, SlidingWindow):
        return ((distance >= -mask.before) & (distance <= mask.after))[None, None]
    return (distance <= 0)[None, None]
