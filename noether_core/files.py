"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write *content* to *path* such that a reader sees the old file or the new one and nothing between.

    Raises:
        OSError: If the folder cannot be written to; an older file stays as it was.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            _write_through(path, data)
        else:
            _replace(os.path.realpath(path), data)
    except OSError as error:  # tells the file that was asked for, not the temporary one
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _write_through(path: str | os.PathLike[str], data: bytes) -> None:
    """Write to a pipe or a device, which is not to be replaced."""
    with open(path, "wb") as file:
        file.write(data)


def _replace(target: str, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _mode(target: str) -> int:
    """Return the permissions of the file that is replaced, else those that a new file has."""
    try:
        return os.stat(target).st_mode & 0o7777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
