"""Plugin packages that tests of the core install into a folder of their own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import settings

from noether_core import Registry
from noether_core.plugins.metadata import scan
from tests.light_environment import task_source, variant_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

settings.register_profile("core", deadline=None)  # a machine that is busy is no fault
settings.load_profile("core")


@attrs.frozen
class Site:
    """A folder of installed distributions, like ``site-packages``."""

    folder: Path

    def install(
        self,
        distribution: str,
        *,
        version: str = "1.2.0",
        attention: Mapping[str, str] | None = None,
        tasks: Mapping[str, str] | None = None,
        commands: Mapping[str, str] | None = None,
        extensions: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> Path:
        """Write the metadata and modules of a distribution; return the folder of the metadata."""
        groups = {
            "noether.attention": attention or {},
            "noether.task": tasks or {},
            "noether.command": commands or {},
            "noether.extension": extensions or {},
        }
        lines = [
            f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in of.items())
            for group, of in groups.items()
            if of
        ]
        for name, text in (files or {}).items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return self.write_metadata(
            f"{distribution}-{version}.dist-info", distribution, version, "\n".join(lines)
        )

    def write_metadata(
        self, folder: str, distribution: str, version: str, entry_points: str | bytes
    ) -> Path:
        """Write the metadata of a distribution as they are given."""
        metadata = self.folder / folder
        metadata.mkdir(parents=True)
        headers = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        file = metadata / ("PKG-INFO" if folder.endswith("egg-info") else "METADATA")
        file.write_text(f"{headers}\nName: a description\n", encoding="utf-8")
        content = entry_points.encode() if isinstance(entry_points, str) else entry_points
        (metadata / "entry_points.txt").write_bytes(content)
        return metadata

    def install_variant(
        self, type: str, distribution: str | None = None, *, module: str = "nowhere:Module"
    ) -> str:
        """Install a package with one sound variant of that type; return the name of its module."""
        name = f"plugin_of_{(distribution or type).replace('-', '_')}_{type}"
        source = variant_source(type, module=module)
        self.install(distribution or type, attention={type: name}, files={f"{name}.py": source})
        return name

    def install_task(
        self, type: str, distribution: str | None = None, *, module: str = "nowhere:Task"
    ) -> str:
        """Install a package with one sound task of that type; return the name of its module."""
        name = f"task_of_{(distribution or type).replace('-', '_')}_{type}"
        source = task_source(type, module=module)
        self.install(distribution or type, tasks={type: name}, files={f"{name}.py": source})
        return name

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the variables of a process that finds what is installed here, too."""
        known = [str(self.folder), os.environ.get("PYTHONPATH")]
        path = os.pathsep.join(filter(None, known))
        return {**os.environ, "PYTHONPATH": path, **variables}

    def registry(self, *, block: Sequence[str] = (), prefer: Sequence[str] = ()) -> Registry:
        """Return a registry of what is installed here, and of nothing else."""
        return Registry(index=scan([str(self.folder)]), block=block, prefer=prefer)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield Site(folder)
    for name, module in tuple(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
