"""A virtual environment of its own, with the project installed as its users install it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import attrs
import pytest
from packaging.requirements import Requirement

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

    What they need is that of this environment: to unpack and compile torch takes half a minute.
    Whoever installs more takes it out again.
    """
    environment = _new_environment(tmp_path_factory.mktemp("fresh"))
    for distribution in set(_needed_by(Requirement("noether-attention[run]"), set())):
        _share(distribution, environment)
    install_project(environment, "run")
    return environment


@pytest.fixture(scope="session")
def base_environment(tmp_path_factory: pytest.TempPathFactory) -> FreshEnvironment:
    """An environment that holds the project as it is without extras: no torch."""
    environment = _new_environment(tmp_path_factory.mktemp("base"))
    install_project(environment)
    return environment


@pytest.fixture(scope="session")
def whole_environment(tmp_path_factory: pytest.TempPathFactory) -> FreshEnvironment:
    """An environment into which pip put the project and all that runs need."""
    environment = _new_environment(tmp_path_factory.mktemp("whole"))
    install_project(environment, "run")
    return environment


def install_project(environment: FreshEnvironment, *extras: str) -> None:
    """Let pip install the project, and what it needs that is not there yet."""
    requirement = f"{ROOT}[{','.join(extras)}]"
    # Compiling all of it takes as long again; what tests import compiles then.
    environment.pip("install", "--no-compile", "-c", ROOT / "constraints.txt", requirement)


def _new_environment(parent: Path) -> FreshEnvironment:
    folder = parent / "environment"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return FreshEnvironment(folder)


def _needed_by(requirement: Requirement, seen: set[tuple[str, str]]) -> Iterator[str]:
    """Yield the distributions that a requirement brings, but for the project; those of here."""
    try:
        lines = metadata.requires(requirement.name) or ()
    except metadata.PackageNotFoundError:
        return
    if requirement.name != "noether-attention":
        yield requirement.name
    for extra in ("", *requirement.extras):
        if (requirement.name, extra) in seen:
            continue
        seen.add((requirement.name, extra))
        for line in lines:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                yield from _needed_by(needed, seen)


def _share(distribution: str, environment: FreshEnvironment) -> None:
    """Let an environment have a distribution of this one, by links to its folders and files."""
    (site,) = environment.folder.glob("lib/python*/site-packages")
    found = metadata.distribution(distribution)
    tops = {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}
    if any((site / name).exists() for name in tops):  # it came with the environment, as pip does
        return
    for name in tops:
        (site / name).symlink_to(found.locate_file(name))
