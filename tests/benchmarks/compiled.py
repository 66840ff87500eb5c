"""What `torch.compile` gains: each built-in variant, whole, beside itself in eager."""

from __future__ import annotations

import math
from typing import get_args

import torch

from tests.benchmarks.pairs import Claim, compare
from tests.benchmarks.workloads import Fact, running, variant, variants


def claims(*, quick: bool) -> list[Claim]:
    """Measure forward, and forward and backward; what compiling takes is not counted."""
    names = ["dot_product"] if quick else variants()
    tokens = 128 if quick else 4096
    return [
        _claim(name, fact, tokens, rounds=3 if quick else 11)
        for name in names
        for fact in get_args(Fact)
    ]


def _claim(name: str, fact: Fact, tokens: int, *, rounds: int) -> Claim:
    torch.compiler.reset()
    torch.manual_seed(0)
    module, arguments = variant(name, tokens)
    compiled = torch.compile(module, fullgraph=True, dynamic=True)
    return compare(
        f"{name} compiled / eager, {tokens:,} tokens, {fact}",
        math.inf,
        running(compiled, arguments, fact),
        running(module, arguments, fact),
        rounds=rounds,
        longest=2.0,
    )
