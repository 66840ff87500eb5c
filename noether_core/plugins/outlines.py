"""What the source of a plugin says of its variant, read without importing it.

A list of what is installed must not run what is installed, nor wait for it. A record that is
written out in its hook says its interface and names its config, whose docstring begins with the
summary; one that is computed says nothing here, and all to whoever imports it.
"""

from __future__ import annotations

import ast
import functools
import os
from collections import namedtuple
from collections.abc import Iterator

from noether_core.plugins.imports import file_of

_LARGEST = 2**18
"""Bytes of a source file that are read; a plugin's hook and config stand in small ones."""


# a namedtuple, as entry points are: attrs and typing would take longer than the reading
class Outline(namedtuple("Outline", "interface summary", defaults=("", ""))):  # noqa: PYI024
    """Interface and summary of a variant; empty where its source does not say them outright."""

    __slots__ = ()

    interface: str
    summary: str


def outline_of(path: str) -> Outline:
    """Return what the source behind an entry point says, and nothing where it cannot be read.

    Args:
        path: ``package.module`` or ``package.module:attribute``.
    """
    module = path.partition(":")[0]
    try:
        tree = _tree_of(module)
        record = next(_calls_of(tree, "AttentionVariant"), None)
        if record is None:
            return Outline()
        said = {keyword.arg: keyword.value for keyword in record.keywords}
        summary = _text(said.get("summary")) or _first_line(said.get("config"), tree, module)
        return Outline(_text(said.get("interface")), summary)
    except (ImportError, OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return Outline()


@functools.lru_cache(maxsize=64)  # variants of one family share the file of their configs
def _tree_of(module: str) -> ast.Module:
    file = file_of(module)
    if not file.endswith(".py") or not os.path.isfile(file):
        raise OSError(f"{file} is no source file")
    with open(file, "rb") as source:
        text = source.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        raise OSError(f"{file} is too large")
    return ast.parse(text)


def _calls_of(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node


def _text(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ""


def _first_line(config: ast.expr | None, tree: ast.Module, module: str) -> str:
    """Return the first line of the docstring of the class that *config* names."""
    if not isinstance(config, ast.Name):
        return ""
    name = config.id
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if (alias.asname or alias.name) == name:
                    source = _module_of(statement, module)
                    return _summary_in(_tree_of(source), alias.name)
    return _summary_in(tree, name)


def _summary_in(tree: ast.Module, name: str) -> str:
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            return (ast.get_docstring(statement) or "").partition("\n")[0]
    return ""


def _module_of(statement: ast.ImportFrom, module: str) -> str:
    """Return the full name of what a statement imports from; *module* is the one it stands in."""
    if not statement.level:
        return statement.module or ""
    is_package = os.path.basename(file_of(module)) == "__init__.py"
    parents = module.split(".")
    kept = len(parents) - statement.level + (1 if is_package else 0)
    return ".".join([*parents[:kept], *filter(None, [statement.module])])
