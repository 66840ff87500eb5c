"""Pages of the documentation, followed as a reader would follow them."""

from __future__ import annotations

import doctest
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

_FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"\*\*`(?P<name>[\w./-]+)`\*\*\s*\Z")
_ALIKE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

Run = Callable[[str], "subprocess.CompletedProcess[str]"]
"""Runs a script in the reader's folder and returns what it prints, errors included, as its standard
output.
"""


@attrs.frozen
class Block:
    """A fenced block of a page."""

    language: str
    text: str

    file: str | None
    """The name in bold above it."""

    expected: str | None
    """For commands: the block of text right below, which is what they print."""


def blocks(page: str) -> Iterator[Block]:
    """Yield the blocks of a page in their order."""
    matches = list(_FENCE.finditer(page))
    for match, following in zip(matches, [*matches[1:], None], strict=True):
        named = _NAME.search(page[: match.start()])
        is_answered = (
            following is not None
            and following["language"] == "text"
            and not page[match.end() : following.start()].strip()
        )
        yield Block(
            match["language"],
            match["text"],
            named["name"] if named else None,
            following["text"] if following is not None and is_answered else None,
        )


def follow(page: str, folder: Path, run: Run) -> None:
    """Write every named file of a page into *folder*, and run every command.

    Each must print what the page shows.
    """
    for block in blocks(page):
        if block.file is not None:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "bash":
            done = run(f"exec 2>&1\n{block.text}")
            assert done.returncode == 0, f"{block.text}{done.stdout}"
            if block.expected is not None:
                is_alike = doctest.OutputChecker().check_output(block.expected, done.stdout, _ALIKE)
                assert is_alike, f"{block.text}wanted:\n{block.expected}\ngot:\n{done.stdout}"
