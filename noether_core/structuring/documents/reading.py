"""From text, in a file or not, to a document."""

from __future__ import annotations

import errno
import functools
import io
import os
import stat
from collections.abc import Callable
from typing import Any, BinaryIO, Final, get_args

from noether_core.errors import ConfigError, Problem
from noether_core.structuring.documents.document import (
    LARGEST_TEXT,
    Document,
    Format,
    Source,
    SourceMap,
    find_unseen,
)

FORMATS: Final[dict[str, Format]] = {
    ".yaml": "yaml",
    ".yml": "yaml",
    ".toml": "toml",
    ".json": "json",
}
"""The format that each suffix of a file's name stands for."""

_LARGEST_FILE: Final = 4 * LARGEST_TEXT
"""Bytes of a file: UTF-8 takes four for a character at most."""

_USUAL_FILE: Final = 2**16
"""Bytes that few files exceed."""

_Reader = Callable[[Source], tuple[Any, Callable[[], SourceMap]]]
"""Returns the data, and a function that finds its source map when a problem needs it."""


def read(path: str | os.PathLike[str], format: Format | None = None) -> Document:
    """Return what a file says.

    Args:
        path: The file, in UTF-8.
        format: How it is written; by the file's suffix where it is None.

    Raises:
        ConfigError: If it cannot be read, its suffix stands for no format, or it is not a valid
            document.
    """
    file = os.fspath(path)
    try:
        with _opened(file) as opened:
            return read_from(opened, format or _format_of(file), file=file)
    except ConfigError:
        raise
    except (OSError, ValueError) as error:  # a ValueError is about a name that no file can have
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError([Problem(message=f"cannot be read: {reason}", file=file)]) from error


def _opened(file: str) -> BinaryIO:
    """Open a file to read its bytes, and never wait for somebody to write into a pipe.

    Raises:
        OSError: If it cannot be read, or is a pipe that nobody writes into.
        ValueError: If no file can have that name.
    """
    if not _is_pipe(file):
        return open(file, "rb")
    with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as pipe:
        start = pipe.raw.read(_USUAL_FILE)  # None where somebody writes and has not yet
        if start == b"":
            raise OSError(errno.EPIPE, "it is a pipe that nobody writes into")
        os.set_blocking(pipe.fileno(), True)
        return io.BytesIO((start or b"") + pipe.read(_LARGEST_FILE + 1))


def _is_pipe(file: str) -> bool:
    """Return whether *file* is a named pipe, and can be opened without waiting."""
    try:
        return hasattr(os, "O_NONBLOCK") and stat.S_ISFIFO(os.stat(file).st_mode)
    except (OSError, ValueError):  # opening it says why
        return False


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
    # to make room for the largest file at once would take as long as to parse a small one
    content = opened.read(_USUAL_FILE)
    if len(content) == _USUAL_FILE:
        content += opened.read(_LARGEST_FILE + 1 - _USUAL_FILE)
    if len(content) > _LARGEST_FILE:
        raise _too_large(file)
    return parse(_decoded(content, file), format, file=file)


def parse(text: str, format: Format, *, file: str = "<text>") -> Document:
    """Return what *text* says.

    Args:
        text: The whole document; a byte order mark at its start is passed over.
        format: How it is written.
        file: What problems call it.

    Raises:
        ConfigError: If it is not valid, too large, or holds what plain data does not.
        ValueError: If there is no such *format*.
    """
    if format not in get_args(Format):
        raise ValueError(f"no format {format!r}; expected one of {', '.join(get_args(Format))}")
    source = Source(text.removeprefix("\ufeff"), file)
    if len(source.text) > LARGEST_TEXT:
        raise _too_large(file)
    _refuse_unseen(source)
    try:
        data, find_source_map = _reader(format)(source)
    except RecursionError as error:
        message = "nested too deep for what is left of Python's stack"
        raise ConfigError([Problem(message=message, file=file)]) from error
    return Document(data, source, functools.cache(find_source_map))


def _reader(format: Format) -> _Reader:
    """Return the reader of one format; the others are not imported."""
    match format:
        case "yaml":
            from noether_core.structuring.documents.yaml import read_yaml

            return read_yaml
        case "toml":
            from noether_core.structuring.documents.toml import read_toml

            return read_toml
        case "json":
            from noether_core.structuring.documents.json import read_json

            return read_json


def _decoded(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        text = content.decode("utf-8-sig", errors="replace")
        before = content[: error.start].decode("utf-8-sig", errors="replace")
        problem = Source(text, file).problem(
            f"the byte 0x{content[error.start]:02x} is not UTF-8",
            len(before),
            suggestion="save the file as UTF-8",
        )
        raise ConfigError([problem]) from error


def _format_of(file: str) -> Format:
    suffix = os.path.splitext(file)[1]
    if suffix.lower() in FORMATS:
        return FORMATS[suffix.lower()]
    message = f"the suffix {suffix!r} names no format"
    if not suffix:
        message = "the name has no suffix that names a format"
    way_out = f"use one of {', '.join(FORMATS)}"
    raise ConfigError([Problem(message=message, file=file, suggestion=way_out)])


def _too_large(file: str) -> ConfigError:
    return ConfigError([Problem(message=f"more than {LARGEST_TEXT} characters", file=file)])


def _refuse_unseen(source: Source) -> None:
    found = find_unseen(source.text)
    if found is None:
        return
    message = f"the character U+{ord(found.group()):04X} cannot stand in a document"
    # zero bytes between letters are what UTF-16 looks like
    suggestion = "save the file as UTF-8" if found.group() == "\0" else None
    raise ConfigError([source.problem(message, found.start(), suggestion=suggestion)])
