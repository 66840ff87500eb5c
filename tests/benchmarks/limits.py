"""How many tokens go into the memory of a small machine: whole processes, with tokens, results and gradients."""

from __future__ import annotations

import resource
import time

import torch

from noether_core import build
from tests.benchmarks.machine import device
from tests.benchmarks.pairs import Bound, bound, in_child
from tests.benchmarks.workloads import Fact, running

_BYTES = 16e9


def claims(*, quick: bool) -> list[Bound]:
    """Measure the bytes of a process that trains on 5,000,000 tokens, and of one that evaluates 20,000,000."""
    fewer = 1_000 if quick else 1
    return [
        _most("forward and backward", 5_000_000 // fewer, hidden_dim=256),
        _most("forward", 20_000_000 // fewer, hidden_dim=64),
    ]


def _most(fact: Fact, tokens: int, *, hidden_dim: int) -> Bound:
    def measure() -> tuple[float, str]:
        found = in_child(_whole, fact, tokens, hidden_dim, longest=900)
        return found["bytes"], f"{found['seconds']:.0f} s"

    told = f"transolver, bytes of the process, {tokens:,} tokens, hidden_dim {hidden_dim}, 64 slices, {fact}"
    return bound(told, _BYTES, measure)


def _whole(fact: Fact, tokens: int, hidden_dim: int) -> dict[str, float]:
    """Return the most bytes that this process ever held, and the seconds of the one step it makes."""
    module = build("transolver", hidden_dim=hidden_dim, num_heads=8, num_slices=64).to(device())
    x = torch.empty(1, tokens, hidden_dim, device=device()).uniform_(-1, 1).requires_grad_(fact != "forward")
    start = time.perf_counter()
    running(module, {"x": x}, fact)()
    seconds = time.perf_counter() - start
    if device().type == "cuda":
        return {"bytes": torch.cuda.max_memory_allocated(), "seconds": seconds}
    return {"bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "seconds": seconds}
