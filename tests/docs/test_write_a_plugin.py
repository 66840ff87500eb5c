"""The page on writing a plugin, followed to the letter."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import attrs
import pytest
from fresh_environment import ROOT, FreshEnvironment

from noether_core.hookspecs import Capability, Interface

PAGE = (ROOT / "docs" / "write-a-plugin.md").read_text(encoding="utf-8")

_FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"\*\*`(?P<name>[\w./]+)`\*\*\s*\Z")
_ALIKE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@attrs.frozen
class Block:
    """A fenced block of the page."""

    language: str
    text: str

    file: str | None
    """The name in bold above it."""

    expected: str | None
    """For commands: the block of text right below, which is what they print."""


def blocks() -> Iterator[Block]:
    matches = list(_FENCE.finditer(PAGE))
    for match, following in zip(matches, [*matches[1:], None], strict=True):
        named = _NAME.search(PAGE[: match.start()])
        is_answered = (
            following is not None
            and following["language"] == "text"
            and not PAGE[match.end() : following.start()].strip()
        )
        yield Block(
            match["language"],
            match["text"],
            named["name"] if named else None,
            following["text"] if following is not None and is_answered else None,
        )


@pytest.fixture
def environment(fresh_environment: FreshEnvironment) -> Iterator[FreshEnvironment]:
    yield fresh_environment
    fresh_environment.pip("uninstall", "-y", "acme-fade")


def test_an_author_who_follows_the_page_sees_what_it_shows(environment: FreshEnvironment, tmp_path: Path) -> None:
    for block in blocks():
        if block.file is not None:
            (tmp_path / block.file).parent.mkdir(exist_ok=True)
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "bash":
            done = environment.run("bash", "-c", f"exec 2>&1\n{block.text}", cwd=tmp_path)
            assert done.returncode == 0, f"{block.text}{done.stdout}"
            if block.expected is not None:
                is_alike = doctest.OutputChecker().check_output(block.expected, done.stdout, _ALIKE)
                assert is_alike, f"{block.text}wanted:\n{block.expected}\ngot:\n{done.stdout}"


def test_the_folder_holds_what_the_page_says_in_the_end() -> None:
    (tree,) = (block.text for block in blocks() if block.text.startswith("pyproject.toml\n"))
    drawn = {line.split()[0] for line in tree.splitlines() if not line.split()[0].endswith("/")}

    written = {Path(block.file).name for block in blocks() if block.file is not None}

    assert drawn - {"py.typed"} == written - {"fade.yaml", "wrong.yaml", "try.py"}


def test_every_block_of_code_is_a_file_or_commands() -> None:
    assert [block for block in blocks() if block.file is None and block.language not in {"bash", "text"}] == []


@pytest.mark.parametrize("name", [*get_args(Interface), *get_args(Capability)])
def test_the_page_explains_every_interface_and_capability(name: str) -> None:
    assert f"\n| `{name}` | " in PAGE
