"""Neighbourhood attention against gathering all neighbours, and how it grows with the points."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from noether_core import build
from noether_plugins.attention.irregular_nat.at_once import Neighbourhood, Tokens
from noether_plugins.attention.irregular_nat.neighbours import Nearest, nearest_neighbours
from noether_plugins.attention.irregular_nat.operation import attend_to_neighbours
from noether_plugins.attention.irregular_nat.relpos import RelposWeights
from tests.benchmarks.memory import peaks
from tests.benchmarks.pairs import Claim, Growth, compare, device, growth, seconds
from tests.benchmarks.running import begin

_WIDTH = 256
_HEADS = 8
_DEGREE = 16
_RADIUS = 0.1

Step = Callable[[], object]

_FACTS = {False: "forward", True: "forward and backward"}

_GROWTH = "irregular_nat, forward and backward, {} over points at fixed density"


def claims(*, quick: bool) -> list[Claim | Growth]:
    """Measure attention alone, the whole module with its search, memory, and exponents."""
    tokens, rounds = (512, 2) if quick else (32_768, 5)
    cases = [
        ("attention", _attention, "unsorted", (1 / 5, 1 / 4)),
        ("attention", _attention, "sorted", (math.inf, math.inf)),
        ("module with search", _module, "unsorted", (math.inf, math.inf)),
    ]
    ratios = [
        compare(
            f"irregular_nat, {part} / all neighbours gathered, {tokens:,} {order} points, {fact}",
            budget,
            _made_once(partial(prepare, "chunks", tokens, order, backward=backward)),
            _made_once(partial(prepare, "gathered", tokens, "unsorted", backward=backward)),
            rounds=rounds,
            longest=6,
        )
        for part, prepare, order, budgets in cases
        for (backward, fact), budget in zip(_FACTS.items(), budgets, strict=True)
    ]
    sizes = [5_000, 10_000] if quick else [25_000, 50_000, 100_000, 200_000]
    return [*ratios, _exponent_of_time(sizes, rounds=2 if quick else 3), *_memory(tokens, sizes)]


def _made_once(make: Callable[[], Step]) -> Step:
    """Return a step that is made when it is first called."""
    made = cache(make)

    def step() -> object:
        return made()()

    return step


def _exponent_of_time(sizes: list[int], *, rounds: int) -> Growth:
    return growth(
        _GROWTH.format("seconds"), 1.15, sizes, lambda size: seconds(_growing(size), rounds=rounds)
    )


def _memory(tokens: int, sizes: list[int]) -> list[Claim | Growth]:
    """Compare bytes, and see how they grow.

    One process of its own runs all these steps, one after the other.
    """
    compared = [
        (_attention, (form, tokens, "unsorted"), {"backward": backward})
        for backward in _FACTS
        for form in ("chunks", "gathered")
    ]
    found = cache(lambda: peaks([*compared, *((_growing, (size,), {}) for size in sizes)]))

    ratios = []
    for number, fact in enumerate(_FACTS.values()):
        name = (
            f"irregular_nat, attention / all neighbours gathered, {tokens:,} points, bytes {fact}"
        )
        begin(name)
        ours, reference = found()[2 * number : 2 * number + 2]
        ratios.append(Claim(name, 1 / 8, [ours / reference], (ours, reference), "bytes"))
    grown = dict(zip(sizes, found()[len(compared) :], strict=True))
    return [*ratios, growth(_GROWTH.format("bytes"), 1.15, sizes, grown.__getitem__)]


def _growing(tokens: int) -> Step:
    torch.manual_seed(0)
    module = build(
        "irregular_nat", hidden_dim=64, num_heads=4, input_dim=3, radius=_RADIUS, max_degree=_DEGREE
    )
    module.to(device())
    x = torch.randn(1, tokens, 64, device=device(), requires_grad=True)
    side = (tokens / 200_000) ** (1 / 3)  # points are as dense, whatever their number
    points = side * torch.rand(1, tokens, 3, device=device())
    return lambda: module(x, positions=points).sum().backward()


def _points(tokens: int, order: str) -> tuple[Tensor, Nearest]:
    """Return random points of a cube, in any order or along the walk, and their neighbours."""
    torch.manual_seed(0)
    points = torch.rand(tokens, 3, device=device())
    found = nearest_neighbours(points.unsqueeze(0), None, radius=_RADIUS, max_degree=_DEGREE)
    if order == "sorted":
        points = points[found.walk[0]]
        found = nearest_neighbours(points.unsqueeze(0), None, radius=_RADIUS, max_degree=_DEGREE)
    return points, found


def _attention(form: str, tokens: int, order: str, *, backward: bool) -> Step:
    """Return a step of attention alone, from queries, keys, values and given neighbours."""
    points, found = _points(tokens, order)
    shapes = {"inner": (32, 3), "outer": (_HEADS, 32), "inner_bias": (32,), "outer_bias": (_HEADS,)}
    weights = RelposWeights(
        **{
            name: torch.randn(shape, device=device(), requires_grad=backward)
            for name, shape in shapes.items()
        }
    )
    features = (
        torch.randn(tokens, _WIDTH, device=device(), requires_grad=backward) for _ in range(3)
    )
    projected = Tokens(*features, points.requires_grad_(backward))
    given = Neighbourhood(found.neighbours[0], found.walk[0], None, None, _HEADS, 0.0, 0.0)
    read = attend_to_neighbours if form == "chunks" else _gathered
    return _step(lambda: read(projected, weights, given), backward=backward)


def _module(form: str, tokens: int, order: str, *, backward: bool) -> Step:
    """Return a step of the whole module, which searches for neighbours and projects."""
    points, _ = _points(tokens, order)
    module = build(
        "irregular_nat",
        hidden_dim=_WIDTH,
        num_heads=_HEADS,
        input_dim=3,
        radius=_RADIUS,
        max_degree=_DEGREE,
        init_weights="torch",
    ).to(device())
    x = torch.randn(1, tokens, _WIDTH, device=device(), requires_grad=backward)
    called = (
        partial(module, positions=points.unsqueeze(0))
        if form == "chunks"
        else partial(_whole, module, points)
    )
    return _step(lambda: called(x), backward=backward)


def _step(function: Callable[[], Tensor], *, backward: bool) -> Step:
    def forward() -> None:
        with torch.no_grad():
            function()

    return (lambda: function().sum().backward()) if backward else forward


def _whole(module: nn.Module, points: Tensor, x: Tensor) -> Tensor:
    """Return what *module* computes, straightforwardly, beside the same search."""
    found = nearest_neighbours(points.unsqueeze(0), None, radius=_RADIUS, max_degree=_DEGREE)
    tokens = Tokens(module.q(x[0]), module.k(x[0]), module.v(x[0]), points)
    inner, outer = module.relpos_fc1, module.relpos_fc2
    weights = RelposWeights(inner.weight, outer.weight, inner.bias, outer.bias)
    given = Neighbourhood(found.neighbours[0], found.walk[0], None, None, _HEADS, 0.0, 0.0)
    return module.proj(_gathered(tokens, weights, given)).unsqueeze(0)


def _gathered(tokens: Tokens, weights: RelposWeights, given: Neighbourhood) -> Tensor:
    """Return the attention as its formula is written, which gathers all neighbours."""
    is_missing = (given.neighbours < 0).unsqueeze(-1)
    others = given.neighbours.clamp(min=0)
    queries, keys, values = (tensor.unflatten(1, (_HEADS, -1)) for tensor in tokens[:3])
    keys, values = keys[others], values[others]

    offsets = tokens.positions[others] - tokens.positions.unsqueeze(1)
    bias = linear(
        gelu(linear(offsets, weights.inner, weights.inner_bias)), weights.outer, weights.outer_bias
    )
    logits = torch.einsum("nhd,nkhd->nkh", queries, keys) / math.sqrt(queries.shape[-1]) + bias
    shares = logits.masked_fill(is_missing, -math.inf).softmax(dim=1)

    return torch.einsum("nkh,nkhd->nhd", shares, values).flatten(1)
