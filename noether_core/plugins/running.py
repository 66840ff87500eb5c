"""Which version of a plugin runs: the one that was installed when its code was imported."""

from __future__ import annotations

import os
import sys
import weakref
from types import ModuleType
from typing import Any, NamedTuple

from noether_core.plugins.imports import import_object, label
from noether_core.plugins.metadata import EntryPoint, scan
from noether_core.regular_files import read_regular

_LARGEST_RECORD = 2**16
"""Bytes of a ``direct_url.json``; installers write a few hundred."""


class Release(NamedTuple):
    """What was installed of a distribution when its code was imported."""

    version: str
    """Its version."""

    direct_url: bytes
    """What its installer recorded, by PEP 610, of where it came from; empty if nothing."""


class _Imported(NamedTuple):
    module: weakref.ref[ModuleType]
    distribution: str
    release: Release


_imported: dict[str, _Imported] = {}
"""What is known of modules that plugins are made of, by their names."""

_latest: dict[str, Release] = {}
"""The release of each distribution that a module was imported from last."""


def import_code(path: str, entry: EntryPoint) -> Any:
    """Return what *path* names, which the plugin *entry* is made of, and note its release.

    Raises:
        PluginError: If it cannot be imported, whatever its import raises.
    """
    name = path.partition(":")[0]
    is_new = name not in sys.modules
    found = import_object(path, label(entry))
    module = sys.modules.get(name)
    is_installed = bool(entry.origin)  # and not registered in this process
    if is_installed and isinstance(module, ModuleType) and not _is_known(name, module):
        _note(name, module, entry, is_new=is_new)
    return found


def release_of(entry: EntryPoint, paths: tuple[str, ...]) -> Release:
    """Return the release whose code runs for a plugin.

    Args:
        entry: The plugin, as it is installed now, perhaps in another version.
        paths: What it is made of; the first whose release is known decides.
    """
    for path in paths:
        name = path.partition(":")[0]
        known = _imported.get(name)
        if known is None or known.distribution != entry.distribution:
            continue
        if known.module() is sys.modules.get(name):
            return known.release
    return _release_in(entry)


def _is_known(name: str, module: ModuleType) -> bool:
    known = _imported.get(name)
    return known is not None and known.module() is module


def _note(name: str, module: ModuleType, entry: EntryPoint, *, is_new: bool) -> None:
    release = None if is_new else _latest.get(entry.distribution)
    if release is None:
        release = _release_in(_as_installed_now(entry))
    _imported[name] = _Imported(weakref.ref(module), entry.distribution, release)
    _latest[entry.distribution] = release


def _as_installed_now(entry: EntryPoint) -> EntryPoint:
    """Return a plugin as its distribution announces it now, in whatever version.

    The index may be older than what is installed.
    """
    if os.path.isdir(entry.origin):
        return entry
    for found in scan([os.path.dirname(entry.origin)]).entry_points:
        if found.distribution == entry.distribution:
            return found
    return entry


def _release_in(entry: EntryPoint) -> Release:
    return Release(entry.version, _direct_url(entry.origin))


def _direct_url(origin: str) -> bytes:
    if not origin:  # registered in this process
        return b""
    try:
        return read_regular(os.path.join(origin, "direct_url.json"), _LARGEST_RECORD)
    except OSError:
        return b""
