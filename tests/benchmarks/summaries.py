"""Gather and read as two calls, against the one call that keeps what both of them need."""

from __future__ import annotations

from collections.abc import Callable

import torch

from noether_core import build
from tests.benchmarks.machine import device
from tests.benchmarks.pairs import Claim, compare

_WIDTH, _HEADS, _SLOTS = 256, 8, 64
"""Slots are slices or latents."""

_OPERATIONS = {
    "transolver": ((3, 4), (4, 4)),
    "transolver_plusplus": ((2, 6), (3, 6)),
    "flare": ((11, 4), (16, 4)),
}
"""Products of a token with matrices of the width, and with slots: in one call, and in two.

In two, states or keys are made once more.
"""


def claims(*, quick: bool) -> list[Claim]:
    """Measure evaluation at many tokens."""
    tokens = 4_096 if quick else 65_536
    return [_compare(name, tokens, quick=quick) for name in _OPERATIONS]


def _compare(name: str, tokens: int, *, quick: bool) -> Claim:
    torch.manual_seed(0)
    slots = "num_latents" if name == "flare" else "num_slices"
    options = {"hidden_dim": _WIDTH, "num_heads": _HEADS, slots: _SLOTS}
    module = build(name, **options).to(device()).eval()
    x = torch.randn(1, tokens, _WIDTH, device=device())
    return compare(
        f"{name}, read(gather) / forward, {tokens:,} tokens, {_SLOTS} {slots[4:]}, forward",
        1.1 * _predicted(name),
        _without_gradients(lambda: module.read(x, module.gather(x))),
        _without_gradients(lambda: module(x)),
        rounds=2 if quick else 15,
        longest=10,
    )


def _predicted(name: str) -> float:
    """Return the ratio of the operations."""
    one, two = (rows * _WIDTH + slots * _SLOTS for rows, slots in _OPERATIONS[name])
    return two / one


def _without_gradients(step: Callable[[], object]) -> Callable[[], object]:
    return torch.no_grad()(step)
