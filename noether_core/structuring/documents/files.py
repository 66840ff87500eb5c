"""Documents in files."""

from __future__ import annotations

import os
from typing import BinaryIO, Final

from noether_core.errors import ConfigError, Problem
from noether_core.structuring.documents.document import (
    LARGEST_TEXT,
    Document,
    Format,
    Source,
    parse,
)

FORMATS: Final[dict[str, Format]] = {
    ".yaml": "yaml",
    ".yml": "yaml",
    ".toml": "toml",
    ".json": "json",
}
"""The format that each suffix of a file's name tells."""

_LARGEST_FILE: Final = 4 * LARGEST_TEXT
"""Bytes of a file: UTF-8 takes four for a character at most."""

_USUAL_FILE: Final = 2**16
"""Bytes that few files exceed; to make room for those of the largest takes as long as to parse a
small one.
"""


def read(path: str | os.PathLike[str], format: Format | None = None) -> Document:
    """Return what a file says.

    Args:
        path: The file, in UTF-8.
        format: How it is written; by the file's suffix where it is None.

    Raises:
        ConfigError: If it cannot be read, its suffix tells no format, or it is not a valid
            document.
    """
    file = os.fspath(path)
    try:
        with open(file, "rb") as opened:
            return read_from(opened, format or _format(file), file=file)
    except (OSError, ValueError) as error:  # a ValueError is about a name that no file can have
        if isinstance(error, ConfigError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError([Problem(message=f"cannot be read: {reason}", file=file)]) from error


def read_from(opened: BinaryIO, format: Format, *, file: str) -> Document:
    """Return what an open file says, such as standard input.

    Args:
        opened: The file, in UTF-8; no more of it is read than a document may have.
        format: How it is written.
        file: What problems call it.

    Raises:
        ConfigError: If it is not a valid document.
        OSError: If it cannot be read.
    """
    content = opened.read(_USUAL_FILE)
    if len(content) == _USUAL_FILE:
        content += opened.read(_LARGEST_FILE + 1 - _USUAL_FILE)
    if len(content) > _LARGEST_FILE:
        raise ConfigError([Problem(message=f"more than {LARGEST_TEXT} characters", file=file)])
    return parse(_decoded(content, file), format, file=file)


def _decoded(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        text, before = (
            part.decode("utf-8-sig", errors="replace") for part in (content, content[: error.start])
        )
        message = f"the byte 0x{content[error.start]:02x} is not UTF-8"
        problem = Source(text, file).problem(
            message, len(before), suggestion="save the file as UTF-8"
        )
        raise ConfigError([problem]) from error


def _format(file: str) -> Format:
    suffix = os.path.splitext(file)[1]
    if suffix.lower() not in FORMATS:
        message = (
            f"the suffix {suffix!r} tells no format"
            if suffix
            else "the name has no suffix that tells a format"
        )
        raise ConfigError(
            [Problem(message=message, file=file, suggestion=f"use one of {', '.join(FORMATS)}")]
        )
    return FORMATS[suffix.lower()]
