"""What each variant learns of the example that ships: `noether run`, from several seeds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.results import Trained
from tests.benchmarks.running import begin, measured

_EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "airfoil.yaml"
TEXT = _EXAMPLE.read_text(encoding="utf-8")
"""The example that ships."""

_ATTENTION = re.compile(r"^attention: (\{type: (\w+).*\})$", re.MULTILINE)
_OFFERED = re.compile(r"^# +(\{type: (\w+).*\})$", re.MULTILINE)

_SEEDS = (0, 1, 2)
_FEWER = ("training.steps=2", "task.n_train=8", "task.n_test=2")

_PLANNED: dict[str, Any] = {
    "relative_errors": {},
    "relative_errors_of_mean": {},
    "parameters": 1,
}


def claims(*, quick: bool) -> list[Trained]:
    """Train every variant that the example names, in a process for each seed."""
    seeds = _SEEDS[:1] if quick else _SEEDS
    fewer = _FEWER if quick else ()
    lines = attentions(TEXT)
    return [_trained(name, lines[name], seeds, fewer) for name in sorted(lines)]


def attentions(text: str) -> dict[str, str]:
    """Return by its type what an experiment says of its attention, and what its comments offer."""
    found = [*_ATTENTION.findall(text), *_OFFERED.findall(text)]
    return {name: line for line, name in found}


def with_attention(text: str, line: str) -> str:
    """Return an experiment with *line* for its attention."""
    return _ATTENTION.sub(lambda _: f"attention: {line}", text)


def _trained(name: str, line: str, seeds: tuple[int, ...], fewer: tuple[str, ...]) -> Trained:
    results = list(_results(name, line, seeds, fewer))
    errors: dict[str, list[float]] = {}
    for result in results:
        means = result["relative_errors_of_mean"]
        for field, error in result["relative_errors"].items():
            errors.setdefault(field, []).append(error / means[field])
    return Trained(name, len(seeds), errors, results[0]["parameters"])


def _results(
    name: str, line: str, seeds: tuple[int, ...], fewer: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    for seed in seeds:
        begin(f"{name}, seed {seed}")
        yield measured(lambda seed=seed: _run(line, (f"seed={seed}", *fewer)), _PLANNED)


def _run(line: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    """Run the example with an attention, on one thread; return its result."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "experiment.yaml")
        file.write_text(with_attention(TEXT, line), encoding="utf-8")
        subprocess.run(
            [sys.executable, "-m", "noether_core.cli", "run", file, *overrides],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=True,
            capture_output=True,
        )
        result = Path(folder, "runs", "experiment", "result.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(result)
    return found
