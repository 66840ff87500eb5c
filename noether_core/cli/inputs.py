"""The config files that commands take: named, in folders, or on standard input."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any

STDIN = "-"
"""The FILE that stands for standard input."""


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """Add FILE, and the options that say where configs stand in files and how those are written."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="YAML, TOML or JSON, told by the suffix; a folder, for all such files in it; or - for standard input",
    )
    parser.add_argument(
        "--at",
        metavar="PATH",
        type=_path,
        help="where the configs stand in each file, such as model.attention or model.blocks[*].attention",
    )
    parser.add_argument(
        "--format",
        choices=("yaml", "toml", "json"),
        help="how all files are written, whatever their suffix",
    )


def files_of(options: argparse.Namespace) -> Iterator[str]:
    """Yield the files that FILE stands for, one by one; folders are searched."""
    for name in options.files:
        yield from _files(name)


def name_of(file: str) -> str:
    """Return what problems call a file."""
    return "<stdin>" if file == STDIN else file


def document_in(file: str, format: Any) -> Any:
    """Return what a file, or standard input, says.

    Raises:
        ConfigError: If it cannot be read or is not valid.
    """
    from noether_core.errors import ConfigError, Problem
    from noether_core.structuring.documents import FORMATS, read, read_from

    if file == STDIN:
        return read_from(sys.stdin.buffer, format or "yaml", file=name_of(file))  # JSON is YAML too
    if os.path.isdir(file):
        raise ConfigError(
            [Problem(message=f"is a folder without a file of {', '.join(FORMATS)}", file=file)]
        )
    return read(file, format)


def _path(text: str) -> Any:
    """Return the place that ``--at`` names; argparse tells what it refuses."""
    from noether_core.structuring.paths import DocumentPath

    try:
        return DocumentPath(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _files(name: str) -> Iterator[str]:
    """Yield the files that *name* stands for: those of a folder whose suffix tells a format, in
    order; or itself.
    """
    found = False
    if name != STDIN and os.path.isdir(name):
        from noether_core.structuring.documents import FORMATS

        for folder, folders, files in os.walk(name):
            folders.sort()
            for file in sorted(files):
                if os.path.splitext(file)[1].lower() in FORMATS:
                    found = True
                    yield os.path.join(folder, file)
    if not found:
        yield name
