"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows: what a killed process leaves behind stays there
    fcntl = None  # type: ignore[assignment]

_SUFFIX = ".noether.part"


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write *content* to *path* such that a reader sees the old file or the new one and nothing
    between.

    Raises:
        OSError: If the folder cannot be written to; an older file stays as it was.
    """
    with replacing(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield an open file that takes the place of *path* once the block ends well.

    Until then it is a hidden file in the same folder, and *path* stays as it was. A process that is
    killed leaves the hidden file behind; whoever writes to the folder next removes it. A pipe or a
    device is written to directly.

    Raises:
        OSError: If the folder cannot be written to; an older file stays as it was.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb") as file:
                yield file
        else:
            with _replacing(os.path.realpath(path)) as file:
                yield file
    except OSError as error:  # tells the file that was asked for, not the temporary one
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


@contextmanager
def _replacing(target: str) -> Iterator[BinaryIO]:
    folder = os.path.dirname(target)
    _remove_leftovers(folder)
    handle, temporary = _locked_temporary(folder)
    lock = os.dup(handle) if fcntl else None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _locked_temporary(folder: str) -> tuple[int, str]:
    """Return a new hidden file, open and locked; the lock ends with this process, and until then
    nobody removes it.
    """
    while True:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=_SUFFIX)
        if _is_locked(handle) and os.path.exists(temporary):
            return handle, temporary
        os.close(handle)  # somebody took it for a leftover before it was locked


def _is_locked(handle: int) -> bool:
    """Lock a file, and return whether it is ours now; on a file system without locks nobody removes
    it either.
    """
    try:
        if fcntl:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _remove_leftovers(folder: str) -> None:
    """Remove the hidden files of processes that were killed: nobody holds their locks any more."""
    with suppress(OSError):  # a folder that may be written to and not be listed
        for name in os.listdir(folder):
            if fcntl and name.startswith(".") and name.endswith(_SUFFIX):
                _remove_unlocked(os.path.join(folder, name))


def _remove_unlocked(path: str) -> None:
    with suppress(OSError):  # it is somebody else's, or was renamed or removed meanwhile
        handle = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(handle)


def _mode(target: str) -> int:
    """Return the permissions of the file that is replaced, else those that a new file has."""
    try:
        return os.stat(target).st_mode & 0o7777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
