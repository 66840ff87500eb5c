"""The page on writing a plugin, followed to the letter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from fresh_environment import ROOT, FreshEnvironment
from pages import blocks, follow

from noether_core.hookspecs import Capability, Interface

PAGE = (ROOT / "docs" / "write-a-plugin.md").read_text(encoding="utf-8")


@pytest.fixture
def environment(fresh_environment: FreshEnvironment) -> Iterator[FreshEnvironment]:
    yield fresh_environment
    fresh_environment.pip("uninstall", "-y", "acme-fade")


def test_an_author_who_follows_the_page_sees_what_it_shows(environment: FreshEnvironment, tmp_path: Path) -> None:
    follow(PAGE, tmp_path, lambda script: environment.run("bash", "-c", script, cwd=tmp_path))


def test_the_folder_holds_what_the_page_says_in_the_end() -> None:
    (tree,) = (block.text for block in blocks(PAGE) if block.text.startswith("pyproject.toml\n"))
    drawn = {line.split()[0] for line in tree.splitlines() if not line.split()[0].endswith("/")}

    written = {Path(block.file).name for block in blocks(PAGE) if block.file is not None}

    assert drawn - {"py.typed"} == written - {"fade.yaml", "wrong.yaml", "try.py"}


def test_every_block_of_code_is_a_file_or_commands() -> None:
    assert [block for block in blocks(PAGE) if block.file is None and block.language not in {"bash", "text"}] == []


@pytest.mark.parametrize("name", [*get_args(Interface), *get_args(Capability)])
def test_the_page_explains_every_interface_and_capability(name: str) -> None:
    assert f"\n| `{name}` | " in PAGE
