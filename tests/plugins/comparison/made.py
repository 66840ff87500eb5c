"""A comparison as it comes out, with as many rows as are wanted."""

from __future__ import annotations

import numpy as np

from noether_plugins.comparison.curves import Curve
from noether_plugins.comparison.record import Comparison, Row, Scaling, Timing
from noether_plugins.comparison.scaling import fitted_exponent
from noether_plugins.comparison.statistics import ranked

NAMES = (
    "dot_product", "transolver", "transolver_plusplus", "flare", "flare_plusplus", "gale",
    "gale_flare", "galerkin", "induced_set", "irregular_nat", "linear", "mixed", "perceiver",
    "self_anchor", "cross_anchor", "joint_anchor",
)  # fmt: skip

_MEANS = {"surface.pressure": 0.98, "volume.velocity": 0.31}


def comparison(names=NAMES, *, n_seeds=3, failed=()):
    """Return one with random numbers, the same each time."""
    rng = np.random.default_rng(0)
    rows = ranked([_row(name, number, rng, n_seeds, failed) for number, name in enumerate(names)])
    return Comparison(
        command="noether compare airfoil.yaml --all",
        created="2026-12-01T00:00:00Z",
        noether="0.1.0",
        torch="2.9.1",
        machine={"processor": "AMD EPYC", "cores": 2, "memory": 25 * 2**30, "threads": 2},
        experiment={},
        seeds=tuple(range(n_seeds)),
        budget="steps=700",
        rows=rows,
    )


def _row(name, number, rng, n_seeds, failed):
    common = {
        "name": name,
        "type": name.split()[0],
        "provider": "noether-attention",
        "version": "0.1.0",
        "attention": {},
        "sources": {},
        "runs": tuple(f"runs/{name}/seed-{seed}" for seed in range(n_seeds)),
    }
    if name in failed:
        return Row(status="failed", error="ValueError: too few points", **common)
    ratios = {
        field: tuple((0.15 + 0.03 * (number // 2)) * rng.lognormal(0, 0.04, n_seeds))
        for field in _MEANS
    }
    errors = {field: tuple(m * r for r in ratios[field]) for field, m in _MEANS.items()}
    step = float(rng.lognormal(-3.5, 0.4))
    tokens = tuple(1024 << doubling for doubling in range(3 + number % 5))
    power = 2.0 if number % 4 == 0 else 1.0
    seconds = tuple(step * (each / 4096) ** power for each in tokens)
    sizes = tuple(int(2e6 + rng.uniform(2e3, 9e3) * each) for each in tokens)
    one = {"dot_product", "mixed", "perceiver"}
    return Row(
        status="complete",
        steps=700,
        errors=errors,
        errors_of_mean=_MEANS,
        ratios=ratios,
        same_as=tuple(sorted(one - {name})) if name in one else (),
        seconds_per_step=step,
        step=Timing(median=step, lower=0.95 * step, upper=1.1 * step, samples=15, dropped=number),
        step_memory_bytes=int(rng.lognormal(17, 0.5)),
        parameters=100_000 + 1000 * number,
        tokens_per_second=1536 / step,
        scaling=Scaling(
            tokens=tokens,
            seconds=seconds,
            bytes=sizes,
            time_exponent=fitted_exponent(tokens, seconds),
            memory_exponent=fitted_exponent(tokens, sizes),
        ),
        **common,
    )


def curves(found):
    """Return curves for the rows of a comparison."""
    rng = np.random.default_rng(1)
    by_row = {}
    for row in found.rows:
        if row.score is None:
            continue
        steps = np.arange(1, 701)
        by_row[row.name] = [
            Curve(
                seconds=tuple((row.seconds_per_step * steps).tolist()),
                losses=tuple(
                    ((row.score**2 + 2 * steps**-0.9) * rng.lognormal(0, 0.15, 700)).tolist()
                ),
            )
            for _ in found.seeds
        ]
    return by_row
