"""Where the code of a plugin lies, without importing it."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec, PathFinder


def file_of(path: str) -> str:
    """Return the file that ``package.module`` or ``package.module:attribute`` leads to; nothing is
    imported.

    Raises:
        ImportError: If it leads to none, or an importer fails at telling.
    """
    module = path.partition(":")[0]
    spec = _spec_of(module)
    if spec.origin is None or not spec.has_location:
        if spec.submodule_search_locations is None:
            return str(spec.origin)  # built into Python
        raise ImportError(f"{module} is a folder without code")
    return spec.origin


def _spec_of(module: str) -> ModuleSpec:
    """Return the spec of a module, found through the folders of the packages around it, none of
    which is imported.

    Raises:
        ImportError: If there is no such module.
    """
    top, *rest = module.split(".")
    spec, found = _top_spec(top), top
    for name in rest:
        folders = list(spec.submodule_search_locations or ())
        # by its bare name: by its full one, a folder without code would look for its parent among
        # imported modules
        inner = PathFinder.find_spec(name, folders) if folders else None
        found = f"{found}.{name}"
        if inner is None:
            raise ImportError(f"there is no {found}")
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
