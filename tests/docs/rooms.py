"""The rooms of the house, as docs/architecture.md lists them: folders, and what each module is for.

``python -m tests.docs.rooms`` writes the lists anew, from the first lines of the modules.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.fresh_environment import ROOT

PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = ("noether_core", "noether_plugins")

_ROOM = re.compile(r"(<!-- room: (?P<room>[\w/]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ROW = re.compile(r"^\| `(?P<name>\w+)`(?P<torch>\*?) \|", re.MULTILINE)


@attrs.frozen(order=True)
class Module:
    """A file of a package, as the page knows it."""

    room: str
    """The folder that it lies in."""

    name: str

    imports_torch: bool
    """Whether it does so at its top; the page marks it with a star."""


def modules() -> Iterator[Module]:
    """Yield every module of the packages but those that open a folder or run it."""
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            if not file.stem.startswith("__"):
                room = file.parent.relative_to(ROOT).as_posix()
                yield Module(room, file.stem, _imports_torch(_tree(file)))


def listed() -> Iterator[Module]:
    """Yield every module that the page lists."""
    for room in _ROOM.finditer(PAGE.read_text(encoding="utf-8")):
        for row in _ROW.finditer(room[0]):
            yield Module(room["room"], row["name"], row["torch"] == "*")


def write() -> None:
    """Write every list of the page anew."""

    def filled(match: re.Match[str]) -> str:
        rows = [_row(module) for module in modules() if module.room == match["room"]]
        return "\n".join(
            (match[1], "| module | what it is for |", "|---|---|", *rows, "", match[3])
        )

    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_ROOM.sub(filled, text), encoding="utf-8")


def _row(module: Module) -> str:
    docstring = ast.get_docstring(_tree(ROOT / module.room / f"{module.name}.py")) or ""
    purpose = docstring.partition("\n\n")[0].replace("\n", " ").replace("``", "`").rstrip(".")
    star = "*" if module.imports_torch else ""
    return f"| `{module.name}`{star} | {purpose.replace('|', chr(92) + '|')} |"


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _imports_torch(tree: ast.Module) -> bool:
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            names = [statement.module or ""]
        else:
            continue
        if any(name.partition(".")[0] == "torch" for name in names):
            return True
    return False


if __name__ == "__main__":
    write()
