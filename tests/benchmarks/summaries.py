"""Gather and read as two calls, against the one call that keeps what both of them need."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from noether_core import build, registry
from noether_core.nn import gather_in_parts
from noether_core.schemas.schema import plan_of
from tests.benchmarks.machine import device
from tests.benchmarks.pairs import Claim, compare

_WIDTH, _HEADS, _SLOTS = 256, 8, 64
"""Slots are slices or latents."""

_BY_HEAD = 1 / _HEADS
"""Of a product with a matrix of the width, what one with a matrix of a head's width takes."""

_OPERATIONS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "transolver": ((3, 4), (4, 4)),
    "transolver_plusplus": ((2, 6), (3, 6)),
    "gale": ((3, 4), (4, 4)),
    "flare": ((11, 4), (16, 4)),
    "flare_plusplus": ((4, 6), (5, 6)),
    "gale_flare": ((2 + 3 * _BY_HEAD, 4), (3 + 3 * _BY_HEAD, 4)),
    "induced_set": ((4, 4), (4, 4)),
    "linear": ((4 + 2 * _BY_HEAD, 0), (4 + 2 * _BY_HEAD, 0)),
    "galerkin": ((4 + 2 * _BY_HEAD, 0), (4 + 2 * _BY_HEAD, 0)),
}
"""Products of a token with matrices of the width, and with slots: in one call, and in two.

In two, states or keys are made once more, where reading needs those that gathering made.
"""


def claims(*, quick: bool) -> list[Claim]:
    """Measure evaluation at many tokens."""
    tokens = 4_096 if quick else 65_536
    return [_compare(name, tokens, quick=quick) for name in _OPERATIONS]


def _compare(name: str, tokens: int, *, quick: bool) -> Claim:
    torch.manual_seed(0)
    options: dict[str, int] = {"hidden_dim": _WIDTH, "num_heads": _HEADS}
    sizes = f"{tokens:,} tokens"
    for slots in ("num_slices", "num_latents"):
        if slots in plan_of(registry().get(name).config).options:
            options[slots] = _SLOTS
            sizes = f"{sizes}, {_SLOTS} {slots.removeprefix('num_')}"
    module = build(name, **options).to(device()).eval()
    x = torch.randn(1, tokens, _WIDTH, device=device())

    def in_two() -> Tensor:
        read: Tensor = module.read(x, *gather_in_parts(module, [x]))
        return read

    return compare(
        f"{name}, read(gather) / forward, {sizes}, forward",
        1.1 * _predicted(name),
        _without_gradients(in_two),
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
