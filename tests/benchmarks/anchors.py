"""The anchor family against projecting everything, its bare operations, and shared weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from noether_core import TokenSpec, build
from noether_core.nn import KVCache, RopeFrequency, rotate
from tests.benchmarks.pairs import Claim, compare, compare_bytes, device
from tests.benchmarks.workloads import fact_of

_HEADS = 3
_WIDTH = 192
_BRANCHES = ("surface", "volume")

Sizes = dict[str, int]
Step = Callable[[], object]

_READS = {
    "self_anchor": {"surface": ("surface",), "volume": ("volume",)},
    "cross_anchor": {"surface": ("volume",), "volume": ("surface",)},
    "joint_anchor": {"surface": ("surface", "volume"), "volume": ("surface", "volume")},
}
"""The branches whose anchors the groups of a branch read."""

_TIME = {
    "self_anchor": (0.92, 0.90),
    "cross_anchor": (math.inf, math.inf),
    "joint_anchor": (math.inf, math.inf),
}
"""Budgets of the forward pass, and of that with the backward pass."""


def claims(*, quick: bool) -> list[Claim]:
    """Measure a car's surface and volume, and what Python adds where tokens are few."""
    anchors, queries, rounds = (64, 256, 3) if quick else (1024, 4096, 11)
    return [
        *_against_straightforward(
            _sizes(anchors, queries), rounds=rounds, ropes=(False,) if quick else (False, True)
        ),
        *_against_bare(rounds=3 if quick else 41, calls=10 if quick else 100),
        *(
            _cached(variant, anchors, queries, rounds=rounds)
            for variant in ("self_anchor", "joint_anchor")
        ),
        *_by_domain(_sizes(anchors, queries), rounds=rounds),
    ]


def _against_straightforward(sizes: Sizes, *, rounds: int, ropes: tuple[bool, ...]) -> list[Claim]:
    found = []
    for variant, budgets in _TIME.items():
        for use_rope in ropes:
            sort = f"{variant} with rope" if use_rope else variant
            name = f"{sort} / all projected and joined, {sum(sizes.values()):,} tokens"
            for backward, budget in zip((False, True), budgets, strict=True):
                ours, theirs = (
                    step_of(form, variant, sizes, use_rope=use_rope, backward=backward)
                    for form in ("module", "straightforward")
                )
                fact = fact_of(backward)
                found.append(
                    compare(f"{name}, {fact}", budget, ours, theirs, rounds=rounds, longest=4)
                )
            ours, theirs = (
                partial(step_of, form, variant, sizes, use_rope=use_rope, backward=False)
                for form in ("module", "straightforward")
            )
            if variant != "cross_anchor":  # it holds what self_anchor holds
                found.append(compare_bytes(f"{name}, bytes forward", 0.75, ours, theirs))
    return found


def _against_bare(*, rounds: int, calls: int) -> list[Claim]:
    sizes = _sizes(2, 6)
    return [
        compare(
            f"{variant} / bare operations, 16 tokens, {fact_of(backward)}",
            1.15,
            step_of("module", variant, sizes, use_rope=False, backward=backward),
            step_of("bare", variant, sizes, use_rope=False, backward=backward),
            rounds=rounds,
            calls=calls,
        )
        for variant in _READS
        for backward in (False, True)
    ]


def step_of(form: str, variant: str, sizes: Sizes, *, use_rope: bool, backward: bool) -> Step:
    """Return a step over the same weights and tokens: of the module, straightforward or bare."""
    torch.manual_seed(0)
    branches = list(_BRANCHES)
    module = build(
        variant,
        hidden_dim=_WIDTH,
        num_heads=_HEADS,
        branches=branches,
        use_rope=use_rope,
        init_weights="torch",
    ).to(device())
    x = torch.randn(1, sum(sizes.values()), _WIDTH, device=device(), requires_grad=backward)
    points = torch.rand(1, x.shape[1], 3, device=device())
    freqs = RopeFrequency(_WIDTH // _HEADS, 3).to(device())(points) if use_rope else None

    forms: dict[str, Callable[[], Tensor]] = {
        "module": partial(module, x, [TokenSpec(*pair) for pair in sizes.items()], freqs=freqs),
        "straightforward": partial(
            straightforward, module.mixed_attention, _READS[variant], x, sizes, freqs
        ),
        "bare": partial(_BARE[variant], module.mixed_attention, x, *list(sizes.values())[:2]),
    }
    return partial(_forward_and_backward if backward else _forward, forms[form])


def straightforward(
    module: nn.Module,
    reads: dict[str, tuple[str, ...]],
    x: Tensor,
    sizes: Sizes,
    freqs: Tensor | None,
) -> Tensor:
    """Project and rotate all tokens, and join queries, keys and values for each pattern."""
    q, k, v = (_heads(x, layer) for layer in (module.q, module.k, module.v))
    if freqs is not None:
        q, k = rotate(q, freqs), rotate(k, freqs)
    q, k, v = (
        dict(zip(sizes, part.split(list(sizes.values()), dim=2), strict=True)) for part in (q, k, v)
    )

    found: dict[str, Tensor] = {}
    for branch, answering in reads.items():
        specs = [name for name in sizes if name.startswith(branch)]
        keys, values = (
            torch.cat([part[f"{other}_anchors"] for other in answering], dim=2) for part in (k, v)
        )
        read = scaled_dot_product_attention(
            torch.cat([q[name] for name in specs], dim=2), keys, values
        )
        found.update(zip(specs, read.split([sizes[name] for name in specs], dim=2), strict=True))

    return _merged(torch.cat([found[name] for name in sizes], dim=2), module)


def _bare_branches(
    module: nn.Module, x: Tensor, anchors: int, queries: int, *, crossed: bool
) -> Tensor:
    """Both branches in one call of the kernel, each as an entry of the batch."""
    own = anchors + queries
    parts = x.split_with_sizes([anchors, queries, anchors, queries], 1)
    read = torch.cat((parts[2], parts[0]) if crossed else (parts[0], parts[2]), 1)
    q, k, v = (
        linear(tokens, layer.weight, layer.bias)
        .view(2, size, _HEADS, _WIDTH // _HEADS)
        .transpose(1, 2)
        for tokens, layer, size in (
            (x, module.q, own),
            (read, module.k, anchors),
            (read, module.v, anchors),
        )
    )
    found = scaled_dot_product_attention(q, k, v)
    return linear(
        found.transpose(1, 2).reshape(1, 2 * own, _WIDTH), module.proj.weight, module.proj.bias
    )


def _bare_joint(module: nn.Module, x: Tensor, anchors: int, queries: int) -> Tensor:
    parts = x.split_with_sizes([anchors, queries, anchors, queries], 1)
    read = torch.cat((parts[0], parts[2]), 1)
    q, k, v = (
        _heads(tokens, layer)
        for tokens, layer in ((x, module.q), (read, module.k), (read, module.v))
    )
    return _merged(scaled_dot_product_attention(q, k, v), module)


_BARE: dict[str, Callable[..., Tensor]] = {
    "self_anchor": partial(_bare_branches, crossed=False),
    "cross_anchor": partial(_bare_branches, crossed=True),
    "joint_anchor": _bare_joint,
}
"""The operations of the modules with nothing checked, for two branches of equal sizes."""


def _cached(variant: str, anchors: int, queries: int, *, rounds: int) -> Claim:
    """Queries that read anchors from a cache, against the bare operations of these queries."""
    torch.manual_seed(0)
    module = build(variant, hidden_dim=_WIDTH, num_heads=_HEADS, branches=list(_BRANCHES)).to(
        device()
    )
    attention, cache = module.mixed_attention, KVCache()
    held, x = (torch.randn(1, 2 * size, _WIDTH, device=device()) for size in (anchors, queries))
    names = [f"{branch}_anchors" for branch in _BRANCHES]
    specs = [TokenSpec(name, None) for name in names]
    specs += [TokenSpec(f"{branch}_queries", queries) for branch in _BRANCHES]

    with torch.no_grad():
        module(held, [TokenSpec(name, anchors) for name in names], kv_cache=cache)
        held_pairs = [_heads(held, layer) for layer in (attention.k, attention.v)]
    shares = 2 if variant == "self_anchor" else 1
    held_pairs = [part.chunk(shares, dim=2) for part in held_pairs]

    def bare() -> Tensor:
        queried = _heads(x, attention.q).chunk(shares, dim=2)
        read = [
            scaled_dot_product_attention(q, k, v)
            for q, k, v in zip(queried, *held_pairs, strict=True)
        ]
        return _merged(
            read[0]
            if shares == 1
            else torch.cat([part.transpose(1, 2) for part in read], 1).transpose(1, 2),
            attention,
        )

    return compare(
        f"{variant}, anchors in a cache / bare operations of the queries, {2 * queries:,} queries",
        1.05,
        partial(_forward, partial(module, x, specs, kv_cache=cache)),
        partial(_forward, bare),
        rounds=rounds,
    )


def _by_domain(sizes: Sizes, *, rounds: int) -> list[Claim]:
    """Two domains of equal groups, each with weights of its own, against weights that both share.

    In a batch of two, samples of a domain lie apart in memory.
    """
    found = []
    for variant in ("self_anchor", "joint_anchor", "perceiver"):
        for batch, backward in ((1, False), (1, True), (2, True)):
            name = f"{variant}, weights for each domain / shared, {sum(sizes.values()):,} tokens"
            of_batch = "" if batch == 1 else f", {batch} samples"
            own, shared = (
                _domain_step(variant, sizes, num_types=number, batch=batch, backward=backward)
                for number in (len(_BRANCHES), None)
            )
            claim = f"{name}{of_batch}, {fact_of(backward)}"
            found.append(compare(claim, 1.15, own, shared, rounds=rounds, longest=4))
    return found


def _domain_step(
    variant: str, sizes: Sizes, *, num_types: int | None, batch: int, backward: bool
) -> Step:
    torch.manual_seed(0)
    options = {} if variant == "perceiver" else {"branches": list(_BRANCHES)}
    module = build(variant, hidden_dim=_WIDTH, num_heads=_HEADS, num_types=num_types, **options).to(
        device()
    )
    count = sum(sizes.values())
    x = torch.randn(batch, count, _WIDTH, device=device(), requires_grad=backward)
    specs = [TokenSpec(*pair) for pair in sizes.items()]
    if variant == "perceiver":
        keys = torch.randn(batch, count // 5, _WIDTH, device=device())
        call = partial(module, x, keys, token_specs=None if num_types is None else specs)
    else:
        call = partial(module, x, specs)
    return partial(_forward_and_backward if backward else _forward, call)


def _sizes(anchors: int, queries: int) -> Sizes:
    return {
        f"{branch}_{kind}": size
        for branch in _BRANCHES
        for kind, size in (("anchors", anchors), ("queries", queries))
    }


def _heads(x: Tensor, layer: nn.Linear) -> Tensor:
    return (
        linear(x, layer.weight, layer.bias)
        .view(*x.shape[:2], _HEADS, _WIDTH // _HEADS)
        .transpose(1, 2)
    )


def _merged(read: Tensor, module: nn.Module) -> Tensor:
    batch, _, tokens, _ = read.shape
    return linear(
        read.transpose(1, 2).reshape(batch, tokens, _WIDTH), module.proj.weight, module.proj.bias
    )


def _forward(call: Callable[[], Tensor]) -> Tensor:
    with torch.no_grad():
        return call()


def _forward_and_backward(call: Callable[[], Tensor]) -> None:
    call().sum().backward()
