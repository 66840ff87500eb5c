"""Where an import path leads: its file, without importing it, and the object that it names."""

from __future__ import annotations

import importlib
import importlib.util
from importlib.machinery import ModuleSpec, PathFinder

from noether_core.plugins.metadata import EntryPoint

# What type checkers take for typing's; a list of plugins needs it no more than it needs errors.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from noether_core.errors import PluginError


def file_of(path: str) -> str:
    """Return the file of ``package.module`` or ``package.module:attribute``; import nothing.

    Raises:
        ImportError: If there is none, or an importer fails.
    """
    module = path.partition(":")[0]
    spec = _spec_of(module)
    if spec.origin is None or not spec.has_location:
        if spec.submodule_search_locations is None:
            return str(spec.origin)  # built into Python
        raise ImportError(f"{module} is a folder without code")
    return spec.origin


def _spec_of(module: str) -> ModuleSpec:
    """Return the spec of a module, found through the folders of the packages around it.

    None of the packages is imported.

    Raises:
        ImportError: If there is no such module.
    """
    top, *rest = module.split(".")
    spec = _top_spec(top)
    path = top

    for name in rest:
        path = f"{path}.{name}"
        folders = list(spec.submodule_search_locations or ())
        # by its bare name: by its full one, a folder without code would look for its parent among
        # imported modules
        inner = PathFinder.find_spec(name, folders) if folders else None
        if inner is None:
            raise ImportError(f"there is no {path}")
        spec = inner
    return spec


def _top_spec(name: str) -> ModuleSpec:
    try:
        spec = importlib.util.find_spec(name)
    except Exception as error:  # an importer that we do not know may fail in any way
        raise ImportError(
            f"{name} cannot be looked for: {type(error).__name__}: {error}"
        ) from error
    if spec is None:
        raise ImportError(f"there is no {name}")
    return spec


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
        from noether_core.errors import PluginError

        raise PluginError(plugin, f"{path} cannot be imported: {describe(error)}") from error
    return found


def describe(error: BaseException) -> str:
    """Return the class of an error that a plugin raised, and its text if it can be had."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001  one whose text fails must not take the place of the failure
        return type(error).__name__


def label(entry: EntryPoint) -> str:
    """Return what errors call a plugin."""
    return f"'{entry.name}' of {entry.provider}"


def plugin_error(entry: EntryPoint, reason: str) -> PluginError:
    """Return the error that the plugin *entry* cannot be used for *reason*."""
    from noether_core.errors import PluginError

    return PluginError(label(entry), f"{entry.value} {reason}")
