"""Environments of real packages, all of them hostile."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.fresh_environment import FreshEnvironment
from tests.light_environment import install, light_environment, site_of

_LONGEST = "100"
"""Seconds after which a command counts as one that hangs."""


@attrs.frozen
class Sandbox:
    """An environment, and the folder in which commands run."""

    environment: FreshEnvironment
    folder: Path

    @property
    def site(self) -> Path:
        return site_of(self.environment)

    def install(self, *wheels: Path) -> None:
        """Let pip install wheels."""
        install(self.environment, *wheels)

    def run(self, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command that must end; return its status and what it wrote."""
        settings = [f"{name}={value}" for name, value in variables.items()]
        done = self.environment.run(
            "env", *settings, "timeout", _LONGEST, *command, cwd=self.folder
        )
        assert done.returncode != 124, f"{command} hangs: {done.stderr}"
        return done

    def json(self, *command: str, status: int = 0, **variables: str) -> Any:
        """Return what ``noether`` prints as JSON."""
        done = self.run("noether", *command, "--json", **variables)
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout)

    def python(self, code: str, *arguments: str, **variables: str) -> Any:
        """Return what a program prints as JSON at its end."""
        done = self.run("python", "-c", code, *arguments, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def new_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Sandbox]:
    """What makes environments that hold nothing but what they see of this one."""

    def make() -> Sandbox:
        folder = tmp_path_factory.mktemp("hostile")
        return Sandbox(light_environment(folder / "environment"), folder)

    return make
