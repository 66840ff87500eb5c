"""A run small enough to be over in seconds."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from noether_plugins.attention.dot_product.config import DotProductAttentionConfig
from noether_plugins.workbench.data import Batch
from noether_plugins.workbench.experiment import DataConfig, Experiment, TrainingConfig
from tests.plugins.workbench.forks import Forks

NOETHER = Path(sysconfig.get_path("scripts")) / "noether"
"""The command beside the Python that runs the tests."""

TINY = """\
attention: {type: transolver, hidden_dim: 8, num_heads: 2, num_slices: 3}
model: {depth: 1}
data: {n_train: 6, n_test: 2, n_surface: 11, n_volume: 13}
training: {steps: 4, batch_size: 3, device: cpu}
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The file of a tiny experiment."""
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    return file


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as forks:
        yield forks


@pytest.fixture
def noether(forks: Forks, tmp_path: Path) -> Run:
    """The command, run in a folder of its own, in a process that has no torch to import."""
    return lambda *arguments: forks.run([*map(str, arguments)], tmp_path)


@pytest.fixture
def whole_noether(tmp_path: Path) -> Run:
    """The real command from its start, run in a folder of its own."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [NOETHER, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def small() -> Experiment:
    """A small experiment with dot-product attention."""
    return Experiment(
        attention=DotProductAttentionConfig(hidden_dim=8, num_heads=2),
        data=DataConfig(n_train=3, n_test=2, n_surface=11, n_volume=13),
        training=TrainingConfig(batch_size=2),
    )


@pytest.fixture
def batch() -> Batch:
    """Random samples whose fields are neither centred nor of spread one."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return Batch(
        inputs={"surface": draw(5, 7, 4), "volume": draw(5, 11, 3)},
        fields={"pressure": 4 * draw(5, 7, 1) + 3, "velocity": 4 * draw(5, 11, 2) - 2},
    )
