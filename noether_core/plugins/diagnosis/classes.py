"""Whether the class that a record names stands in its file, read without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from noether_core.plugins.imports import file_of
from noether_core.spelling import did_you_mean


def complaint_about(path: str) -> str | None:
    """Return what is wrong with ``package.module:Class``, or None where nothing is, as far as its
    source tells.
    """
    module, _, name = path.partition(":")
    try:
        file = file_of(module)
    except ImportError as error:
        return f"{path} cannot be imported: {error}"
    if not file.endswith(".py"):
        return None
    try:
        with open(file, "rb") as stream:
            tree = ast.parse(stream.read())
    except (OSError, ValueError, SyntaxError, RecursionError) as error:
        return f"{path} cannot be imported: {type(error).__name__}: {error}"
    names = set(_names_bound(tree.body))
    if name in names or not names.isdisjoint({"*", "__getattr__"}):
        return None
    return "; ".join(filter(None, (f"{module} has no {name}", did_you_mean(name, sorted(names)))))


def _names_bound(statements: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the names that statements bind where they stand, in branches and loops too; ``*``
    stands for any.
    """
    for statement in statements:
        match statement:
            case (
                ast.ClassDef(name=name)
                | ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
            ):
                yield name
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                yield from (alias.asname or alias.name.partition(".")[0] for alias in aliases)
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case _:
                yield from _names_bound(ast.iter_child_nodes(statement))
