"""Comparisons that are over in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

TINY = """\
attention: {type: transolver, hidden_dim: 8, num_heads: 2, num_slices: 3}
model: {depth: 1}
task: {type: airfoil, n_train: 6, n_test: 2, n_surface: 11, n_volume: 31}
training: {steps: 4, batch_size: 3, device: cpu}
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a tiny experiment."""
    file = tmp_path_factory.mktemp("experiment") / "tiny.yaml"
    file.write_text(TINY)
    return file
