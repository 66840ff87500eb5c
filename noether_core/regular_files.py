"""Files that anybody may have put there: only regular ones are read, and no more than fits."""

from __future__ import annotations

import errno
import os
import stat

_MOST_BYTES = 1 << 24
"""Bytes of a file of metadata; the largest that are in use take a fifth of it."""

# To open a pipe waits for whoever writes into it, unless one says not to wait.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def read_regular(path: str, most: int = _MOST_BYTES) -> bytes:
    """Return what a file holds; never wait for it.

    Raises:
        OSError: If it cannot be read, is no regular file (but a folder, a pipe or a device), or
            holds more than *most* bytes.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        _refuse_irregular(os.fstat(descriptor).st_mode, path)
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(most + 1) or b""
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"{os.path.basename(path)} holds more than {most} bytes")
    return content


def is_irregular(path: str) -> bool:
    """Return whether *path* is there and neither a regular file nor a folder."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _refuse_irregular(mode: int, path: str) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"{os.path.basename(path)} is no regular file")
