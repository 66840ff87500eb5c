"""The example that ships, at its full size, with the attention of every built-in variant."""

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
OPTIONS = {
    "irregular_nat": ", input_dim: 2, radius: 1.0",  # the slowest first, so that none is left over at the end
    "cross_anchor": ", branches: [surface, volume]",
    "dot_product": "",
    "flare": ", num_latents: 32",
    "joint_anchor": ", branches: [surface, volume]",
    "mixed": "",
    "perceiver": "",
    "self_anchor": ", branches: [surface, volume]",
    "transolver": ", num_slices: 32",
    "transolver_plusplus": ", num_slices: 32",
}


def _run(type, folder):
    """Run the example with another attention, on one thread, and return the errors over those of the mean predictor."""
    line = f"attention: {{type: {type}, hidden_dim: 64, num_heads: 4{OPTIONS[type]}}}"
    text, changes = re.subn(r"^attention: .*$", line, EXAMPLE.read_text(), flags=re.MULTILINE)
    assert changes == 1, "one line of the file chooses the variant"
    file = folder / f"{type}.yaml"
    file.write_text(text)
    command = [sys.executable, "-m", "noether_core.cli", "run", file]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return done.stderr
    result = json.loads((folder / "runs" / type / "result.json").read_text())
    return {name: error / result["relative_errors_of_mean"][name] for name, error in result["relative_errors"].items()}


@pytest.fixture(scope="module")
def ratios(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(OPTIONS, pool.map(functools.partial(_run, folder=folder), OPTIONS), strict=True))


def test_every_built_in_variant_is_run():
    provided = {entry.name for entry in registry().providers() if entry.provider.startswith("noether-attention ")}
    assert set(OPTIONS) == provided


@pytest.mark.parametrize("type", OPTIONS)
def test_the_errors_are_at_most_half_the_mean_predictors(type, ratios):
    assert not isinstance(ratios[type], str), ratios[type]
    assert len(ratios[type]) == 2
    assert max(ratios[type].values()) <= 1 / 2


def test_the_attention_that_the_example_names_does_better(ratios):
    named = re.search(r"^attention: \{type: (\w+)", EXAMPLE.read_text(), flags=re.MULTILINE)[1]
    assert max(ratios[named].values()) <= 1 / 3
