"""The example that ships, at its full size: the promise of its first line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "airfoil.yaml"
LINES = {
    "transolver": "attention: {type: transolver, hidden_dim: 64, num_heads: 4, num_slices: 32}",
    "dot_product": "attention: {type: dot_product, hidden_dim: 64, num_heads: 4}",
}


@pytest.mark.parametrize("type", LINES)
def test_the_errors_are_at_most_a_third_of_the_mean_predictors(type, tmp_path):
    text, changes = re.subn(r"^attention: .*$", LINES[type], EXAMPLE.read_text(), flags=re.MULTILINE)
    assert changes == 1, "one line of the file chooses the variant"
    file = tmp_path / "airfoil.yaml"
    file.write_text(text)

    subprocess.run([sys.executable, "-m", "noether_core.cli", "run", file], cwd=tmp_path, check=True)

    result = json.loads((tmp_path / "runs" / "airfoil" / "result.json").read_text())
    for name, error in result["relative_errors"].items():
        assert error <= result["relative_errors_of_mean"][name] / 3, name
