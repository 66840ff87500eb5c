"""Masks that are described against those written out, and FlexAttention against "auto"."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from noether_core.nn import Causal, SlidingWindow, StructuredMask, attend
from tests.benchmarks.pairs import Claim, compare, compare_bytes, device
from tests.benchmarks.workloads import fact_of

_HEADS = 4
_HEAD_DIM = 32

_MASKS: dict[str, StructuredMask] = {"window of 513": SlidingWindow(256, 256), "causal": Causal()}

_SECONDS = {
    ("window of 513", False): 0.5,
    ("window of 513", True): 0.6,
    ("causal", False): 0.6,
    ("causal", True): 0.8,
}
"""Most of the time that the mask written out takes, forward and with backward; few tokens promise
nothing.
"""

_BYTES = {"window of 513": 0.12, "causal": 0.03}
"""Most of the memory that the mask written out takes."""


def claims(*, quick: bool) -> list[Claim]:
    """Measure windows and causal attention: time forward and with backward, and memory."""
    tokens, most = (1_024, 2_048) if quick else (4_096, 16_384)
    rounds = 2 if quick else 3
    return [
        *(
            _time(name, tokens, math.inf if quick else budget, backward=backward, rounds=rounds)
            for (name, backward), budget in _SECONDS.items()
        ),
        *(_memory(name, most, math.inf if quick else budget) for name, budget in _BYTES.items()),
        *(
            [] if quick else [_against_flex("window of 513", tokens, rounds=rounds)]
        ),  # its kernel takes long to compile
    ]


def _time(name: str, tokens: int, budget: float, *, backward: bool, rounds: int) -> Claim:
    inputs, written = _inputs(tokens, requires_grad=backward), _written_out(_MASKS[name], tokens)
    step = _backward if backward else _forward
    return compare(
        f"{name} / mask written out, {tokens:,} tokens, {fact_of(backward)}",
        budget,
        lambda: step(lambda: attend(*inputs, attn_mask=_MASKS[name])),
        lambda: step(lambda: scaled_dot_product_attention(*inputs, written)),
        rounds=rounds,
        longest=6,
    )


def _against_flex(name: str, tokens: int, *, rounds: int) -> Claim:
    """Compare what "auto" takes with FlexAttention, which is compiled in the warm-up."""
    inputs = _inputs(tokens, requires_grad=False)
    return compare(
        f"{name}, auto / flex, {tokens:,} tokens, forward",
        math.inf,
        lambda: _forward(lambda: attend(*inputs, attn_mask=_MASKS[name])),
        lambda: _forward(lambda: attend(*inputs, attn_mask=_MASKS[name], backend="flex")),
        rounds=rounds,
        longest=6,
    )


def _memory(name: str, tokens: int, budget: float) -> Claim:
    return compare_bytes(
        f"{name} / mask written out, {tokens:,} tokens, forward",
        budget,
        partial(_described, name, tokens),
        partial(_in_full, name, tokens),
    )


def _described(name: str, tokens: int) -> Callable[[], Tensor]:
    inputs = _inputs(tokens, requires_grad=False)
    return lambda: attend(*inputs, attn_mask=_MASKS[name])


def _in_full(name: str, tokens: int) -> Callable[[], Tensor]:
    """Return attention that writes its mask out."""
    inputs = _inputs(tokens, requires_grad=False)
    return lambda: scaled_dot_product_attention(*inputs, _written_out(_MASKS[name], tokens))


def _inputs(tokens: int, *, requires_grad: bool) -> list[Tensor]:
    """Return heads that lie as projections leave them."""
    torch.manual_seed(0)
    shape = 1, tokens, _HEADS, _HEAD_DIM
    return [
        torch.randn(shape, device=device()).transpose(1, 2).requires_grad_(requires_grad)
        for _ in range(3)
    ]


def _forward(function: Callable[[], Tensor]) -> None:
    with torch.no_grad():
        function()


def _backward(function: Callable[[], Tensor]) -> None:
    function().sum().backward()


def _written_out(mask: StructuredMask, tokens: int) -> Tensor:
    key = torch.arange(tokens, device=device())
    query = key[:, None]
    if isinstance(mask, SlidingWindow):
        return ((key >= query - mask.before) & (key <= query + mask.after))[None, None]
    return (key <= query)[None, None]
