"""Packages that provide the type ``flow``, as wheels and as a repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.light_environment import write_wheel

PLUGIN = """\
from typing import Annotated, Literal

import attrs
from annotated_types import Ge

from noether_core import AttentionConfig, AttentionVariant, hookimpl


@attrs.frozen(kw_only=True)
class Config(AttentionConfig):
    type: Literal["flow"] = "flow"

{options}


@hookimpl
def noether_attention_variant():
    return AttentionVariant(
        config=Config,
        module="{package}.module:Module",
        interface="self",
        time_exponent=1,
        memory_exponent=1,
        summary="Flows.",
        example={{"hidden_dim": 8, "num_heads": 2}},
        api_version=1,
    )
"""

MODULE = '''\
from torch import nn


class Module(nn.Module):
    """Of {told}."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.{layer} = nn.Linear(config.hidden_dim, {width})
'''

WINDOW = "    window: Annotated[int, Ge(1)] = 3"
WIDER = "    window: Annotated[int, Ge(9)] = 9"
STRIDE = "    stride: int = 1"

BACKEND = """\
import shutil
from pathlib import Path


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    (wheel,) = Path(__file__).parent.glob("*.whl")
    return Path(shutil.copy(wheel, wheel_directory)).name


build_editable = build_wheel
"""

PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def flow_files(
    package: str, *, told: str = "", options: str = WINDOW, layer: str = "mix", width: int = 4
) -> dict[str, str]:
    """Return the files of a package that provides ``flow``."""
    return {
        f"{package}/__init__.py": PLUGIN.format(options=options, package=package),
        f"{package}/module.py": MODULE.format(told=told, layer=layer, width=width),
    }


def flow_wheel(
    folder: Path, distribution: str = "acme-flow", *, version: str = "1.0", options: str = WINDOW
) -> Path:
    """Write the wheel of a package that provides ``flow``, and return it."""
    package = distribution.replace("-", "_")
    files = flow_files(package, told=f"{distribution} {version}", options=options)
    folder.mkdir(exist_ok=True, parents=True)
    return write_wheel(folder, distribution, files, version=version, plugins={"flow": package})


def flow_repository(folder: Path) -> Path:
    """Write a git repository of the package, and return its folder.

    Its build needs nothing from anywhere.
    """
    flow_wheel(folder)
    (folder / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (folder / "backend.py").write_text(BACKEND, encoding="utf-8")
    git(folder, "init", "--quiet")
    commit(folder)
    return folder


def commit(folder: Path) -> str:
    """Commit all of a repository, changed or not, and return the name of the commit."""
    git(folder, "add", "--all")
    git(
        folder,
        "-c",
        "user.name=me",
        "-c",
        "user.email=me@here.example",
        "commit",
        "-qm",
        "flow",
        "--allow-empty",
    )
    return git(folder, "rev-parse", "HEAD")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", folder, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
