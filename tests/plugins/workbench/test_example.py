"""The example that ships, as it is, and with every other built-in variant in a smaller run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from noether_core import registry
from tests.sampling import sampled

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


def test_the_file_offers_every_built_in_variant():
    provided = {
        entry.name
        for entry in registry().providers()
        if entry.provider.startswith("noether-attention ")
    }
    assert set(LINES) == provided


@pytest.mark.shares_nothing
@pytest.mark.parametrize("type", sampled(LINES, NAMED[2], "perceiver", "self_anchor"))
def test_the_errors_are_at_most_half_the_mean_predictors(type, tmp_path):
    ratios = _run(type, tmp_path)
    assert not isinstance(ratios, str), ratios
    assert len(ratios) == 2
    # What the file names learns from all that the file says, the others from less.
    assert max(ratios.values()) <= (1 / 3 if type == NAMED[2] else 1 / 2)
