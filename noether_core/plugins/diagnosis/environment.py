"""What the checks look at, every installed distribution, and what they find."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Literal

import attrs

from noether_core.plugins.catalogue import Catalogue
from noether_core.plugins.metadata import (
    EntryPoint,
    canonical,
    is_leftover,
    metadata_folders,
    name_of,
    searched_path,
)
from noether_core.regular_files import read_regular

Severity = Literal["error", "warning"]

Check = Literal[
    "clash",
    "contract",
    "doctor",
    "duplicate",
    "entry-point",
    "group",
    "import",
    "leftover",
    "look-alike",
    "metadata",
    "missing-code",
    "missing-torch",
    "module",
    "other-code",
    "output",
    "registers",
    "setting",
    "shared-code",
    "slow-import",
    "torch",
]
"""Names of the checks, as reports and the page for operators have them."""


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that is wrong with what is installed, or will be."""

    severity: Severity
    """``error``: a plugin cannot be used. ``warning``: all can, and a surprise is waiting."""

    check: Check
    """The check that found it: ``slow-import``."""

    message: str
    """What is wrong."""

    remedy: str
    """What to do about it."""

    distribution: str = ""
    """The distribution at fault, in its canonical spelling, where there is one."""

    version: str = ""
    """Its version, as far as it is known."""

    plugin: str = ""
    """The plugin at fault, by its qualified name, where it is one."""

    origin: str = ""
    """The folder or file in which the fault lies."""

    @classmethod
    def of_plugin(
        cls, severity: Severity, check: Check, entry: EntryPoint, message: str, remedy: str
    ) -> Finding:
        """Return what is wrong with a plugin."""
        return cls(
            severity=severity,
            check=check,
            message=message,
            remedy=remedy,
            distribution=entry.distribution,
            version=entry.version,
            plugin=entry.qualified_name,
            origin=entry.origin,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the same facts as plain data, ready for JSON."""
        return attrs.asdict(self)


def without(entry: EntryPoint) -> str:
    """Return how to do without a plugin that cannot be used."""
    block = f"NOETHER_BLOCK={entry.qualified_name}"
    return f"repair or uninstall {entry.distribution}, or leave it out: {block}"


@attrs.frozen
class Installed:
    """One distribution, with plugins or without, as its metadata describe it."""

    origin: str
    """Folder, or for very old installations file, of the metadata."""

    name: str
    """Its name in the canonical spelling; that of its folder where the metadata name nothing."""

    version: str
    """Its version, likewise."""

    groups: tuple[str, ...]
    """Groups of its entry points."""

    complaints: tuple[str, ...]
    """What is wrong with its metadata."""

    @property
    def folder(self) -> str:
        """The folder that it is installed in."""
        return os.path.dirname(self.origin)


@attrs.frozen
class Environment:
    """Everything that is installed, by metadata alone."""

    known: Catalogue
    """The plugins."""

    installed: tuple[Installed, ...]
    """The distributions, with plugins or without."""

    leftovers: tuple[str, ...]
    """Metadata that interrupted uninstallations left."""

    core_commands: frozenset[str]
    """Names of the commands that are Noether's own."""

    @property
    def plugins(self) -> tuple[EntryPoint, ...]:
        """The plugins of every group that are not blocked."""
        of_types = [entry for known in self.known.kinds() for entry in known.providers()]
        return (*of_types, *self.known.commands(), *self.known.extensions())

    @property
    def distributions_with_plugins(self) -> frozenset[str]:
        """The names of the distributions that announce plugins, blocked and hidden ones too."""
        index = self.known.index
        return frozenset(entry.distribution for entry in (*index.entry_points, *index.shadowed))


def environment_of(known: Catalogue, core_commands: frozenset[str]) -> Environment:
    """Return what is on ``sys.path``."""
    installed: list[Installed] = []
    leftovers: list[str] = []
    for origin in metadata_folders(searched_path()):
        if is_leftover(origin):
            leftovers.append(origin)
        else:
            installed.append(_read(origin))
    return Environment(known, tuple(installed), tuple(leftovers), core_commands)


def name_from(origin: str) -> tuple[str, str]:
    """Return the name and the version of a distribution as far as its folder says them."""
    stem = os.path.basename(origin).rpartition(".")[0]
    return name_of(origin), stem.partition("-")[2]


def _read(origin: str) -> Installed:
    complaints: list[str] = []
    headers = _headers(_metadata_file(origin), complaints)
    entry_points = None
    if os.path.isdir(origin):
        entry_points = _text(os.path.join(origin, "entry_points.txt"), complaints)

    name, version = name_from(origin)
    return Installed(
        origin=origin,
        name=canonical(headers.get("Name", "")) or name,
        version=headers.get("Version", version),
        groups=tuple(_groups(entry_points or "")),
        complaints=tuple(complaints),
    )


def _metadata_file(origin: str) -> str:
    if not os.path.isdir(origin):
        return origin
    return os.path.join(origin, "METADATA" if origin.endswith(".dist-info") else "PKG-INFO")


def _headers(file: str, complaints: list[str]) -> dict[str, str]:
    """Return name and version as a file of metadata gives them; note what is wrong with it."""
    text = _text(file, complaints)
    file_name = os.path.basename(file)
    if text is None:
        if not os.path.lexists(file):
            complaints.append(f"{file_name} is missing")
        return {}

    fields: dict[str, str] = {}
    for line in text.partition("\n\n")[0].splitlines():
        is_continued = line.startswith((" ", "\t"))
        if ":" in line and not is_continued:
            field, value = line.split(":", 1)
            fields[field] = value.strip()

    headers: dict[str, str] = {}
    for field in ("Name", "Version"):
        if fields.get(field):
            headers[field] = fields[field]
        else:
            complaints.append(f"{file_name} has no {field}")
    return headers


def _text(file: str, complaints: list[str]) -> str | None:
    """Return what a file holds, as well as it can be read; None where it cannot be."""
    file_name = os.path.basename(file)
    try:
        content = read_regular(file)
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        complaints.append(f"{file_name} is not UTF-8: {error.reason} at byte {error.start}")
        return content.decode("utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        complaints.append(f"{file_name} cannot be read: {error.strerror}")
        return None


def _groups(entry_points: str) -> Iterator[str]:
    for line in map(str.strip, entry_points.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            yield line[1:-1].strip()
