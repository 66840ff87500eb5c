"""What pip installs without extras, which has no torch, and with all that runs need.

By day `.ci/run` tries the base install, in an environment that it makes beside that of the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.fresh_environment import FreshEnvironment
from tests.third_party.base_install import CASES, Case, complaint_about

pytestmark = pytest.mark.nightly


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case.command)[-40:])
def test_it_does_all_that_needs_no_module(
    case: Case, base_environment: FreshEnvironment, tmp_path: Path
) -> None:
    def run(command: Sequence[str], folder: Path) -> CompletedProcess[str]:
        return base_environment.run(*command, cwd=folder)

    assert complaint_about(case, run, tmp_path) == ""


def test_pytest_starts_there_and_its_plugin_says_what_it_needs(
    base_environment: FreshEnvironment, tmp_path: Path
) -> None:
    (tmp_path / "test_nothing.py").write_text("def test_nothing(): pass\n", encoding="utf-8")
    base_environment.pip("install", "pytest")

    plain = base_environment.run("python", "-m", "pytest", cwd=tmp_path)
    checking = base_environment.run("python", "-m", "pytest", "--noether", "flare", cwd=tmp_path)

    assert plain.returncode == 0, plain.stdout + plain.stderr
    needs = "ERROR: pytest --noether needs torch, which is not installed; "
    assert checking.stderr.startswith(needs), checking.stdout + checking.stderr
    assert checking.returncode == 4


def test_the_extra_run_brings_all_that_runs_need(
    whole_environment: FreshEnvironment, tmp_path: Path
) -> None:
    config = "attention: {type: flare, hidden_dim: 8, num_heads: 2, num_latents: 4}"
    task = "task: {type: airfoil, n_train: 4, n_test: 2, n_surface: 16, n_volume: 16}"
    (tmp_path / "run.yaml").write_text(
        f"{config}\n{task}\nmodel: {{depth: 1}}\ntraining: {{steps: 2, batch_size: 2}}\n",
        encoding="utf-8",
    )

    ran = whole_environment.run("noether", "run", "run.yaml", "--output", "out", cwd=tmp_path)

    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out" / "picture.png").exists()
