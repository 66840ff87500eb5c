"""A virtual environment that sees what the tests run with, and wheels for pip to install in it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

from tests.fresh_environment import FreshEnvironment

VARIANT = '''\
from typing import Annotated, Literal

import attrs
from annotated_types import Ge

from noether_core import AttentionConfig, AttentionVariant, hookimpl


@attrs.frozen(kw_only=True)
class Config(AttentionConfig):
    """Options of a variant that only tests know."""

    type: Literal["{type}"] = "{type}"

    window: Annotated[int, Ge(1)] = 256
    """Tokens on either side."""


@hookimpl
def noether_attention_variant():
    return AttentionVariant(
        config=Config,
        module="{module}",
        interface="self",
        time_exponent=1,
        memory_exponent=1,
        summary="Tokens read what is near.",
        example={{"hidden_dim": 8, "num_heads": 2}},
        api_version={api_version},
    )
'''

TASK = '''\
from typing import Annotated, Literal

import attrs
from annotated_types import Ge

from noether_core import TaskRecord, hookimpl
from noether_core.schemas.task import TaskConfig


@attrs.frozen(kw_only=True)
class Config(TaskConfig):
    """Samples that only tests know."""

    type: Literal["{type}"] = "{type}"

    n_train: Annotated[int, Ge(1)] = 4
    """Samples to learn from."""


@hookimpl
def noether_task():
    return TaskRecord(
        config=Config,
        module="{module}",
        summary="Points that are what they were.",
        reference="Nowhere, 2026",
        api_version={api_version},
    )
'''

MODULE = """\
from torch import nn


class Module(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
"""


_METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n"

_WHEEL = """\
Wheel-Version: 1.0
Generator: tests
Root-Is-Purelib: true
Tag: py3-none-any
"""


def variant_source(type: str, *, module: str = "nowhere:Module", api_version: int = 1) -> str:
    """Return the source of a module with one sound variant."""
    return VARIANT.format(type=type, module=module, api_version=api_version)


def task_source(type: str, *, module: str = "nowhere:Task", api_version: int = 1) -> str:
    """Return the source of a module with one sound task."""
    return TASK.format(type=type, module=module, api_version=api_version)


def light_environment(folder: Path) -> FreshEnvironment:
    """Return an environment that sees the packages of this one after its own.

    It starts in a second, since nothing is installed.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    environment = FreshEnvironment(folder)
    seen = sysconfig.get_path("purelib")
    (site_of(environment) / "seen.pth").write_text(
        f"import site; site.addsitedir({seen!r})\n", encoding="utf-8"
    )
    script = folder / "bin" / "noether"
    script.write_text(
        f"#!{folder}/bin/python\nfrom noether_core.cli import script\n\nscript()\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    return environment


def site_of(environment: FreshEnvironment) -> Path:
    """Return the folder of an environment into which pip installs."""
    (site,) = environment.folder.glob("lib/python*/site-packages")
    return site


def write_wheel(
    folder: Path,
    distribution: str,
    files: Mapping[str, str],
    *,
    version: str = "1.0",
    group: str = "noether.attention",
    plugins: Mapping[str, str] | None = None,
) -> Path:
    """Write a wheel as build tools do, and return it.

    Args:
        folder: Where the wheel is to lie.
        distribution: Its name.
        files: What it installs.
        version: Its version.
        group: The group of its entry points.
        plugins: Its entry points, from name to import path.
    """
    stem = f"{distribution.replace('-', '_')}-{version}"
    announced = "".join(f"{name} = {path}\n" for name, path in (plugins or {}).items())
    metadata = f"{stem}.dist-info"
    contents = {
        **files,
        f"{metadata}/METADATA": _METADATA.format(distribution, version),
        f"{metadata}/WHEEL": _WHEEL,
        f"{metadata}/entry_points.txt": f"[{group}]\n{announced}",
    }
    record = "".join(f"{name},,\n" for name in (*contents, f"{metadata}/RECORD"))
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**contents, f"{metadata}/RECORD": record}.items():
            archive.writestr(name, text)
    return wheel


def install(environment: FreshEnvironment, *wheels: Path) -> None:
    """Let pip install wheels, and nothing that they ask for."""
    environment.pip("install", "--no-deps", "--no-index", "--no-compile", *wheels)


def indented(text: str) -> str:
    """Return the lines of a text block as they stand, without what all are indented by."""
    return dedent(text).strip() + "\n"
