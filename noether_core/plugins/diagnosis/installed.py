"""Every distribution in the environment, with or without plugins, and what is wrong with its
metadata.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import attrs

from noether_core.plugins.metadata import canonical, is_leftover, metadata_folders

_MOST_BYTES = 1 << 24


@attrs.frozen
class Installed:
    """One distribution, as its metadata tell it."""

    origin: str
    """Folder, or for very old installations file, of the metadata."""

    name: str
    """Its name in the canonical spelling; what its folder is called where the metadata name
    nothing.
    """

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


def all_installed(path: Iterable[str]) -> list[Installed]:
    """Return every distribution in the folders on *path*, but for leftovers."""
    return [_read(origin) for origin in metadata_folders(path) if not is_leftover(origin)]


def name_from(origin: str) -> tuple[str, str]:
    """Return the name and the version of a distribution as far as its folder tells them."""
    stem = os.path.basename(origin).removesuffix(".dist-info").removesuffix(".egg-info")
    name, _, version = stem.lstrip("~").partition("-")
    return canonical(name), version


def _read(origin: str) -> Installed:
    complaints: list[str] = []
    headers = _headers(_metadata_file(origin), complaints)
    is_folder = os.path.isdir(origin)
    entry_points = (
        _text(os.path.join(origin, "entry_points.txt"), complaints) if is_folder else None
    )
    name, version = name_from(origin)
    groups = tuple(_groups(entry_points or ""))
    return Installed(
        origin,
        canonical(headers.get("Name", "")) or name,
        headers.get("Version", version),
        groups,
        tuple(complaints),
    )


def _metadata_file(origin: str) -> str:
    if not os.path.isdir(origin):
        return origin
    return os.path.join(origin, "METADATA" if origin.endswith(".dist-info") else "PKG-INFO")


def _headers(file: str, complaints: list[str]) -> dict[str, str]:
    """Return name and version as metadata tell them."""
    text = _text(file, complaints)
    called = os.path.basename(file)
    if text is None:
        if not os.path.lexists(file):
            complaints.append(f"{called} is missing")
        return {}
    lines = text.partition("\n\n")[0].splitlines()
    fields = dict(
        line.split(":", 1) for line in lines if ":" in line and not line.startswith((" ", "\t"))
    )
    headers = {
        field: fields[field].strip()
        for field in ("Name", "Version")
        if fields.get(field, "").strip()
    }
    complaints += [
        f"{called} has no {field}" for field in ("Name", "Version") if field not in headers
    ]
    return headers


def _text(file: str, complaints: list[str]) -> str | None:
    """Return what a file holds, as well as it can be read; None where it cannot be."""
    try:
        with open(file, "rb") as stream:
            content = stream.read(_MOST_BYTES)
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        complaints.append(
            f"{os.path.basename(file)} is not UTF-8: {error.reason} at byte {error.start}"
        )
        return content.decode("utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        complaints.append(f"{os.path.basename(file)} cannot be read: {error.strerror}")
        return None


def _groups(entry_points: str) -> Iterator[str]:
    for line in map(str.strip, entry_points.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            yield line[1:-1].strip()
