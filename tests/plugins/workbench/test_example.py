"""The example that ships, as it is, and with every other built-in variant in a smaller run."""

import json
import os
import subprocess
import sys

import pytest

from noether_core import registry
from tests.benchmarks.airfoil import TEXT, attentions, with_attention
from tests.sampling import sampled

LINES = attentions(TEXT)
"""What the file says of the attention, and what its comments say to write instead."""

NAMED = next(iter(LINES))
"""The type that the file has."""

FEWER = ("training.steps=160", "task.n_train=128", "task.n_test=16")
"""What variants learn from; solving the flow would else take as long as the training."""


def _run(type, folder, *changes):
    """Run the example on one thread; return its errors over those of the mean predictor."""
    file = folder / f"{type}.yaml"
    file.write_text(with_attention(TEXT, LINES[type]))
    done = subprocess.run(
        [sys.executable, "-m", "noether_core.cli", "run", file, *changes],
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


def test_the_file_offers_every_built_in_variant():
    provided = {
        entry.name
        for entry in registry().providers()
        if entry.provider.startswith("noether-attention ")
    }
    assert set(LINES) == provided


def _assert_below(most, ratios):
    assert not isinstance(ratios, str), ratios
    assert len(ratios) == 2
    assert max(ratios.values()) <= most


@pytest.mark.shares_nothing
@pytest.mark.parametrize("type", sampled(LINES, NAMED))
def test_the_errors_are_at_most_half_the_mean_predictors(type, tmp_path):
    _assert_below(1 / 2, _run(type, tmp_path, *FEWER))


@pytest.mark.nightly
def test_the_file_as_it_is_leaves_at_most_a_third_of_the_mean_predictors_errors(tmp_path):
    _assert_below(1 / 3, _run(NAMED, tmp_path))
