"""From an import path to the object it names, whatever its import does."""

from __future__ import annotations

import importlib
from typing import Any

from noether_core.errors import PluginError
from noether_core.plugins.index import EntryPoint


def import_plugin(entry: EntryPoint) -> Any:
    """Return the module or object that *entry* names.

    Raises:
        PluginError: If it cannot be imported, whatever its import raises.
    """
    return import_object(entry.value, label(entry))


def import_object(path: str, plugin: str) -> Any:
    """Return what ``package.module`` or ``package.module:attribute`` names.

    Raises:
        PluginError: If it cannot be imported, whatever its import raises; *plugin* is whose it is.
    """
    module, _, attributes = path.partition(":")
    try:
        found = importlib.import_module(module)
        for attribute in attributes.split(".") if attributes else ():
            found = getattr(found, attribute)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin that calls sys.exit() must not end its host
        raise PluginError(plugin, f"{path} cannot be imported: {told(error)}") from error
    return found


def told(error: BaseException) -> str:
    """Return what an error of a plugin says, if it can."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001  one whose text fails must not take the place of the failure
        return type(error).__name__


def label(entry: EntryPoint) -> str:
    """Return what errors call a plugin."""
    return f"'{entry.name}' of {entry.provider}"


def plugin_error(entry: EntryPoint, reason: str) -> PluginError:
    """Return the error that the plugin *entry* cannot be used for *reason*."""
    return PluginError(label(entry), f"{entry.value} {reason}")
