"""Attention through slices, streamed over tokens, against holding every token's weights."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from noether_core import build
from tests.benchmarks.machine import device
from tests.benchmarks.pairs import Claim, Growth, compare, compare_bytes, growth, peak_bytes
from tests.benchmarks.straightforward import Slices
from tests.benchmarks.workloads import Fact, running

_SIZES = {"hidden_dim": 256, "num_heads": 8}

_FACTORS = {
    (64, "forward"): 1.7,
    (64, "forward and backward"): 1.5,
    (512, "forward"): 1.9,
    (512, "forward and backward"): 2.8,
}
"""How many times as fast, by the number of slices."""


def claims(*, quick: bool) -> list[Claim | Growth]:
    """Measure time and memory."""
    tokens = 1_024 if quick else 65_536
    facts: tuple[Fact, ...] = ("forward",) if quick else ("forward", "forward and backward")
    return [
        *(
            _against_straightforward(*key, factor, tokens, quick=quick)
            for key, factor in _FACTORS.items()
        ),
        *(_folding(slices, tokens, quick=quick) for slices in ((8,) if quick else (8, 24, 48))),
        *(_plusplus(fact, training, tokens, quick=quick) for fact, training in _PLUSPLUS),
        *(_context(fact, tokens, quick=quick) for fact in facts),
        *(_memory(fact, tokens) for fact in facts),
        *(
            _working_bytes(name, fact, quick=quick)
            for name in _STREAMED[: 1 if quick else 2]
            for fact in facts
        ),
    ]


_PLUSPLUS: tuple[tuple[Fact, bool], ...] = (("forward", False), ("forward and backward", True))
_STREAMED = ("transolver", "transolver_plusplus")
_FEW = 16_384
_CONTEXT = 1_024


def _against_straightforward(
    slices: int, fact: Fact, factor: float, tokens: int, *, quick: bool
) -> Claim:
    ours, reference = (
        functools.partial(make, slices, fact, tokens) for make in (_streamed, _straightforward)
    )
    return compare(
        f"transolver / straightforward, {tokens:,} tokens, {slices} slices, {fact}",
        1 / factor,
        _made_once(ours),
        _made_once(reference),
        rounds=2 if quick else 15,
        longest=15,
    )


def _context(fact: Fact, tokens: int, *, quick: bool) -> Claim:
    """Compare slices that attend to a context with those that do not, and attention to it alone."""
    torch.manual_seed(0)
    gale = build("gale", **_SIZES, num_slices=64, context_dim=_SIZES["hidden_dim"]).to(device())
    parts = _SlicesAndContext().to(device())
    context = _numbers(_CONTEXT)
    steps = (
        running(module, {"x": _numbers(tokens), "context": context}, fact)
        for module in (gale, parts)
    )
    name = f"gale / transolver and attention to a context, {tokens:,} tokens, 64 slices, {fact}"
    return compare(name, 1.1, *steps, rounds=2 if quick else 15, longest=8)


class _SlicesAndContext(nn.Module):
    """Attention through slices, and beside it bare attention of as many queries to a context."""

    def __init__(self) -> None:
        super().__init__()
        width, heads = _SIZES["hidden_dim"], _SIZES["num_heads"]
        self.slices = build("transolver", **_SIZES, num_slices=64)
        self.rows = nn.Parameter(torch.randn(1, heads, 64, width // heads))
        self.q = nn.Linear(width // heads, width // heads)
        self.k, self.v = (nn.Linear(width, width // heads) for _ in range(2))

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Return what tokens get, and with gradients the sum of that and of what queries get."""
        keys, values = (
            layer(context).unsqueeze(1).expand(-1, _SIZES["num_heads"], -1, -1)
            for layer in (self.k, self.v)
        )
        crossed = scaled_dot_product_attention(self.q(self.rows), keys, values)
        y: torch.Tensor = self.slices(x)
        return y.sum() + crossed.sum() if torch.is_grad_enabled() else y


def _memory(fact: Fact, tokens: int) -> Claim:
    return compare_bytes(
        f"transolver / straightforward, bytes, {tokens:,} tokens, 64 slices, {fact}",
        1 / 2,
        functools.partial(_streamed, 64, fact, tokens),
        functools.partial(_straightforward, 64, fact, tokens),
    )


def _folding(slices: int, tokens: int, *, quick: bool) -> Claim:
    """Compare products of weights made beforehand with those made with every token.

    The sizes decide which of the two is taken.
    """
    folded, unfolded = (
        _module("transolver", slices, is_folded=is_folded) for is_folded in (True, False)
    )
    taken = "folded" if build("transolver", **_SIZES, num_slices=slices).is_folded else "not folded"
    steps = (running(module, {"x": _numbers(tokens)}, "forward") for module in (folded, unfolded))
    name = f"folded / not, {tokens:,} tokens, {slices} slices, forward; taken: {taken}"
    return compare(
        name, 1.05 if taken == "folded" else math.inf, *steps, rounds=2 if quick else 9, longest=4
    )


def _plusplus(fact: Fact, training: bool, tokens: int, *, quick: bool) -> Claim:
    """Compare streaming with holding all weights, as training with noise does for few tokens."""
    streaming, holding = (
        _module("transolver_plusplus", 64, **options)
        for options in ({"chunk_size": 4096}, {"backend": "sdpa"})
    )
    steps = (running(module, {"x": _numbers(tokens)}, fact) for module in (streaming, holding))
    mode = "training with noise" if training else "evaluation"
    name = f"transolver_plusplus, streamed / held, {tokens:,} tokens, 64 slices, {mode}, {fact}"
    return compare(name, math.inf if training else 1.0, *steps, rounds=2 if quick else 7, longest=8)


def _working_bytes(name: str, fact: Fact, *, quick: bool) -> Growth:
    sizes = [4_096, 8_192] if quick else [16_384, 65_536, 262_144]

    def measure(tokens: int) -> float:
        found = peak_bytes(_chunked, name, fact, tokens)
        return max(
            1.0, found - 4 * _SIZES["hidden_dim"] * tokens
        )  # the output, or the gradient of the tokens

    return growth(
        f"{name}, bytes beyond input, output and gradients, over tokens, {fact}",
        0.1,
        sizes,
        measure,
    )


def _streamed(slices: int, fact: Fact, tokens: int) -> Callable[[], object]:
    return _warm_step(_module("transolver", slices), fact, tokens)


def _straightforward(slices: int, fact: Fact, tokens: int) -> Callable[[], object]:
    torch.manual_seed(0)
    return _warm_step(Slices(slices).to(device()), fact, tokens)


def _chunked(name: str, fact: Fact, tokens: int) -> Callable[[], object]:
    return _warm_step(_module(name, 64, chunk_size=4096), fact, tokens)


def _warm_step(module: nn.Module, fact: Fact, tokens: int) -> Callable[[], object]:
    """Return a step, once fewer tokens have loaded the code that a first call loads.

    Code is no memory of the step.
    """
    running(module, {"x": _numbers(min(tokens, _FEW))}, fact)()
    return running(module, {"x": _numbers(tokens)}, fact)


def _module(name: str, slices: int, *, is_folded: bool | None = None, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    module = build(name, **_SIZES, num_slices=slices, **options).to(device())
    if is_folded is not None:
        module.is_folded = is_folded
    return module


def _numbers(tokens: int) -> torch.Tensor:
    return torch.randn(1, tokens, _SIZES["hidden_dim"], device=device(), requires_grad=True)


def _made_once(make: Callable[[], Callable[[], object]]) -> Callable[[], object]:
    """Return a step that is made when it is first called."""
    made: list[Callable[[], object]] = []

    def step() -> object:
        if not made:
            made.append(make())
        return made[0]()

    return step
