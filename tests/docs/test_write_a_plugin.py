"""The page on writing a plugin, followed to the letter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from noether_core.hookspecs import Capability, Interface, hookspec_version
from noether_core.scaffold import files_of, names_of
from tests.docs.pages import blocks, follow
from tests.fresh_environment import ROOT, FreshEnvironment

PAGE = (ROOT / "docs" / "write-a-plugin.md").read_text(encoding="utf-8")


@pytest.fixture
def environment(fresh_environment: FreshEnvironment) -> Iterator[FreshEnvironment]:
    yield fresh_environment
    fresh_environment.pip("uninstall", "-y", "acme-fade")


def test_an_author_who_follows_the_page_sees_what_it_shows(
    environment: FreshEnvironment, tmp_path: Path
) -> None:
    follow(PAGE, tmp_path, lambda script: environment.run("bash", "-c", script, cwd=tmp_path))


def test_the_folder_is_what_the_page_draws() -> None:
    (tree,) = (block.text for block in blocks(PAGE) if block.text.startswith("acme-fade/\n"))
    drawn = {line.split()[0].rpartition("/")[2] for line in tree.splitlines()} - {""}

    written = files_of(names_of("acme-fade"), "self", version="0.1", api_version=hookspec_version)

    assert drawn == {Path(path).name for path in written}


def test_the_page_changes_no_file_that_is_not_there() -> None:
    written = files_of(names_of("acme-fade"), "self", version="0.1", api_version=hookspec_version)

    changed = {block.file for block in blocks(PAGE) if block.file is not None}

    assert changed - {"fade.yaml", "wrong.yaml", "try.py"} < {
        f"acme-fade/{path}" for path in written
    }


def test_every_block_of_code_is_a_file_or_commands_or_runs_by_itself() -> None:
    # Blocks of "python" run as those of every page do.
    assert [
        block
        for block in blocks(PAGE)
        if block.file is None and block.language not in {"bash", "text", "python"}
    ] == []


@pytest.mark.parametrize("name", [*get_args(Interface), *get_args(Capability)])
def test_the_page_explains_every_interface_and_capability(name: str) -> None:
    assert f"\n| `{name}` | " in PAGE
