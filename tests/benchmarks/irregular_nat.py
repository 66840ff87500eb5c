"""How neighbourhood attention grows with the points: time and memory of whole processes, forward and backward."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.benchmarks.pairs import Growth

_STEP = """
import json, resource, sys, time
import torch
from noether_core import build

tokens = int(sys.argv[1])
torch.manual_seed(0)
module = build("irregular_nat", hidden_dim=64, num_heads=4, input_dim=3, radius=0.1, max_degree=16)
x = torch.randn(1, tokens, 64, requires_grad=True)
positions = torch.rand(1, tokens, 3) * (tokens / 200_000) ** (1 / 3)  # points as dense, whatever their number

def step():
    start = time.perf_counter()
    module(x, positions=positions).sum().backward()
    return time.perf_counter() - start

peak = lambda: 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
seconds = [step() for _ in range(1 + int(sys.argv[2]))][1:]
print(json.dumps({"seconds": min(seconds), "bytes": peak() - before}))
"""


def claims(*, quick: bool) -> list[Growth]:
    """Measure forward and backward at doubling numbers of points, up to 200,000."""
    sizes = [5_000, 10_000] if quick else [25_000, 50_000, 100_000, 200_000]
    found = [_measure(tokens, repeats=1 if quick else 5) for tokens in sizes]
    return [
        Growth(f"irregular_nat, {fact} over points at fixed density", 1.15, sizes, [each[fact] for each in found])
        for fact in ("seconds", "bytes")
    ]


def _measure(tokens: int, *, repeats: int) -> dict[str, float]:
    command = [sys.executable, "-c", _STEP, str(tokens), str(repeats)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured
