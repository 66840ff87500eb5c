"""The example that ships, as it is, and with every other built-in variant in a smaller run."""

import functools
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from noether_core import registry

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "airfoil.yaml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
NAMED = re.search(r"^attention: (\{type: (\w+).*)$", TEXT, flags=re.MULTILINE)
LINES = {
    name: line for line, name in re.findall(r"^# +(\{type: (\w+).*)$", TEXT, flags=re.MULTILINE)
}
LINES[NAMED[2]] = NAMED[1]
"""What the file says of the attention, and what its comment says to write instead."""

FEWER = ("training.steps=160", "data.n_train=128", "data.n_test=16")
"""What the other variants learn from; solving the flow would else take as long as the training."""


def _run(type, folder):
    """Run the example on one thread; return its errors over those of the mean predictor."""
    file = folder / f"{type}.yaml"
    file.write_text(TEXT.replace(NAMED[0], f"attention: {LINES[type]}"))
    command = [sys.executable, "-m", "noether_core.cli", "run", file]
    if type != NAMED[2]:
        command.extend(FEWER)
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return done.stderr
    result = json.loads((folder / "runs" / type / "result.json").read_text())
    return {
        name: error / result["relative_errors_of_mean"][name]
        for name, error in result["relative_errors"].items()
    }


@pytest.fixture(scope="module")
def ratios(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # the slowest first, so that no core waits for it in the end
        in_turn = sorted(LINES, key=lambda name: name != "irregular_nat")
        results = pool.map(functools.partial(_run, folder=folder), in_turn)
        return dict(zip(in_turn, results, strict=True))


def test_the_file_offers_every_built_in_variant():
    provided = {
        entry.name
        for entry in registry().providers()
        if entry.provider.startswith("noether-attention ")
    }
    assert set(LINES) == provided


@pytest.mark.parametrize("type", LINES)
def test_the_errors_are_at_most_half_the_mean_predictors(type, ratios):
    assert not isinstance(ratios[type], str), ratios[type]
    assert len(ratios[type]) == 2
    assert max(ratios[type].values()) <= 1 / 2


def test_the_attention_that_the_file_names_does_better(ratios):
    assert max(ratios[NAMED[2]].values()) <= 1 / 3
