"""A virtual environment of its own, with the project installed as its users install it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[1]

_INHERITED = ("PYTHON", "VIRTUAL_ENV", "NOETHER_")
"""How the names of variables start that would carry something of this environment into the fresh
one.
"""

_LONGEST = 600
"""Seconds that a command may take."""


@attrs.frozen
class FreshEnvironment:
    """A virtual environment into which pip installs."""

    folder: Path
    """The environment's folder."""

    def run(self, *command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a command in *cwd*, those of the environment before all others."""
        variables = {
            name: value for name, value in os.environ.items() if not name.startswith(_INHERITED)
        }
        variables["PATH"] = f"{self.folder / 'bin'}{os.pathsep}{variables['PATH']}"
        found = self.folder / "bin" / command[0]
        return subprocess.run(
            [found if found.exists() else command[0], *command[1:]],
            cwd=cwd,
            env=variables,
            check=False,
            capture_output=True,
            text=True,
            timeout=_LONGEST,
        )

    def pip(self, *arguments: str | Path) -> None:
        """Let pip do something, which must succeed."""
        quietly = ("-q", "--disable-pip-version-check")
        done = self.run("python", "-m", "pip", *arguments, *quietly, cwd=self.folder)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def fresh_environment(tmp_path_factory: pytest.TempPathFactory) -> FreshEnvironment:
    """An environment that holds the project with what runs need, and nothing else.

    Whoever installs more takes it out again.
    """
    return _environment_with(f"{ROOT}[run]", tmp_path_factory.mktemp("fresh"))


@pytest.fixture(scope="session")
def base_environment(tmp_path_factory: pytest.TempPathFactory) -> FreshEnvironment:
    """An environment that holds the project as it is without extras: no torch."""
    return _environment_with(str(ROOT), tmp_path_factory.mktemp("base"))


def _environment_with(requirement: str, parent: Path) -> FreshEnvironment:
    folder = parent / "environment"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    environment = FreshEnvironment(folder)
    # Compiling all of torch takes half a minute; what tests import of it compiles then.
    environment.pip("install", "--no-compile", "-c", ROOT / "constraints.txt", requirement)
    return environment
