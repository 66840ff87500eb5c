"""How many tokens go into the memory of a small machine, everything included."""

from __future__ import annotations

import resource
import time
from typing import Any

import torch

from noether_core import build
from tests.benchmarks.machine import device
from tests.benchmarks.pairs import Bound, bound, in_child
from tests.benchmarks.workloads import Fact, running

_GIGABYTES = 16

_READ = 256
"""Tokens beside the many ones of cross attention."""

_MANY_BESIDE = {"kv": "queries", "q": "keys"}
"""What there are many of where the others are few."""


def claims(*, quick: bool) -> list[Bound]:
    """Measure processes that train on 5,000,000 tokens and evaluate 20,000,000."""
    fewer = 1_000 if quick else 1
    many = 20_000_000 // fewer
    return [
        _most(
            "transolver", "forward and backward", 5_000_000 // fewer, num_slices=64, hidden_dim=256
        ),
        _most("transolver", "forward", many, num_slices=64),
        _most("flare", "forward", many, num_latents=64),
        _most("perceiver", "forward", many, beside="kv"),
        _most("perceiver", "forward", many, beside="q"),
    ]


def _most(
    name: str, fact: Fact, tokens: int, *, beside: str | None = None, **options: Any
) -> Bound:
    options = {"hidden_dim": 64, "num_heads": 8, **options}

    def measure() -> tuple[float, str]:
        found = in_child(_whole, name, fact, tokens, beside, options, longest=1200)
        return found["bytes"] / 1e9, f"{found['seconds']:.0f} s"

    many = "tokens" if beside is None else _MANY_BESIDE[beside]
    sizes = f"{tokens:,} {many}, hidden_dim {options['hidden_dim']}"
    return bound(f"{name}, GB of the process, {sizes}, {fact}", _GIGABYTES, measure)


def _whole(
    name: str, fact: Fact, tokens: int, beside: str | None, options: dict[str, Any]
) -> dict[str, float]:
    """Return the most bytes that this process ever held, and the seconds of its one step."""
    module, width = build(name, **options).to(device()), options["hidden_dim"]
    names = ("x",) if beside is None else ("q", "kv")
    arguments = {
        name: torch.empty(1, _READ if name == beside else tokens, width, device=device()).uniform_(
            -1, 1
        )
        for name in names
    }
    for tensor in arguments.values():
        tensor.requires_grad_(fact != "forward")
    start = time.perf_counter()
    running(module, arguments, fact)()
    seconds = time.perf_counter() - start
    if device().type == "cuda":
        return {"bytes": torch.cuda.max_memory_allocated(), "seconds": seconds}
    return {"bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "seconds": seconds}
