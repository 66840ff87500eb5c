"""A run small enough to be over in seconds."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

from noether_core import AttentionConfig
from noether_plugins.attention.dot_product.config import DotProductAttentionConfig
from noether_plugins.workbench.data import prepare
from noether_plugins.workbench.experiment import Experiment, ModelConfig, TrainingConfig
from noether_plugins.workbench.model import PointTransformer
from noether_plugins.workbench.training import Trainer
from tests.plugins.workbench.forks import Forks
from tests.plugins.workbench.tiny_task import TinyTask, TinyTaskConfig

NOETHER = Path(sysconfig.get_path("scripts")) / "noether"
"""The command beside the Python that runs the tests."""

TINY = """\
attention: {type: transolver, hidden_dim: 8, num_heads: 2, num_slices: 3}
model: {depth: 1}
task: {type: airfoil, n_train: 6, n_test: 2, n_surface: 11, n_volume: 211}
training: {steps: 4, batch_size: 3, device: cpu}
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The file of a tiny experiment."""
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    return file


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
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
        task=TinyTaskConfig(),
        attention=DotProductAttentionConfig(hidden_dim=8, num_heads=2),
        model=ModelConfig(depth=1),
        training=TrainingConfig(steps=6, batch_size=3),
    )


NewTrainer = Callable[..., Trainer]


@pytest.fixture
def new_trainer(small: Experiment) -> NewTrainer:
    """What makes a trainer of the small experiment, anew and with other options."""

    def make(
        kind: type[TinyTask] = TinyTask,
        *,
        is_equal: bool = False,
        dropout: float = 0.0,
        attention: AttentionConfig = small.attention,
        **options: Any,
    ) -> Trainer:
        task = kind(TinyTaskConfig(is_equal=is_equal), seed=0)
        training = attrs.evolve(small.training, **options)
        cpu = torch.device("cpu")
        data = prepare(task, validation=training.validation, seed=0, device=cpu, memory=2**20)
        torch.manual_seed(0)
        chosen = attrs.evolve(attention, dropout=dropout)
        model = PointTransformer(chosen, small.model, task.layout)
        return Trainer(model, data, training, seed=0)

    return make


@pytest.fixture
def trainer(new_trainer: NewTrainer) -> Trainer:
    """A trainer of the small experiment."""
    return new_trainer()
