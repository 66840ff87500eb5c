"""Files that are written whole or not at all, and folders that one process keeps."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows: what a killed process leaves behind stays there
    fcntl = None  # type: ignore[assignment]

_SUFFIX = ".noether.part"


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write *content* to *path* such that a reader sees the old file or the new one.

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
    name = os.fspath(path)
    _check_name(name)
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb") as file:
                yield file
        else:
            with _replacing_file(os.path.realpath(path)) as file:
                yield file
    except OSError as error:  # names the file that was asked for, not the temporary one
        raise OSError(error.errno, error.strerror, name) from error


def _check_name(name: str | bytes) -> None:
    """Refuse what can be no file's name, as the system would if Python handed it on.

    Raises:
        OSError: If *name* ends as a folder's, holds NUL or half of a character, or is empty.
    """
    try:
        encoded = os.fsencode(name)
    except UnicodeEncodeError as error:
        raise OSError(errno.EINVAL, "holds half of a character", name) from error
    if b"\0" in encoded:
        raise OSError(errno.EINVAL, "holds the character NUL", name)
    if encoded.endswith((os.fsencode(os.sep), b"/")):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    if not encoded:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def lock_folder(folder: str | os.PathLike[str]) -> int | None:
    """Return an open handle that keeps a folder for this process; None if another one keeps it.

    It is kept until the handle is closed or the process ends, however that comes about. On a file
    system without locks everybody gets a handle.

    Raises:
        OSError: If the folder cannot be opened.
    """
    handle = os.open(folder if fcntl else os.devnull, os.O_RDONLY)
    if _is_locked(handle):
        return handle
    os.close(handle)
    return None


def sync(path: str | os.PathLike[str]) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    is_folder = os.path.isdir(path)
    if is_folder and not fcntl:  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _replacing_file(target: str) -> Iterator[BinaryIO]:
    folder = os.path.dirname(target)
    _remove_leftovers(folder)
    handle, temporary = _locked_new(lambda: _new_file(folder))
    lock = os.dup(handle) if fcntl else None  # the file is closed, and its lock kept, until the end
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _take_mode(temporary, target)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _new_file(folder: str) -> tuple[int, str]:
    """Return a new hidden file, open, and its name.

    The system applies the umask, which no program can look at without changing it for a moment,
    for all of its threads.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        path = os.path.join(folder, f".{_random_name()}{_SUFFIX}")
        with suppress(FileExistsError):
            return os.open(path, flags, 0o666), path


def _random_name() -> str:
    return os.urandom(8).hex()


def _locked_new(make: Callable[[], tuple[int, str]]) -> tuple[int, str]:
    """Return what *make* makes, open and locked.

    The lock ends with this process, and until then nobody takes the file or folder for a leftover.
    """
    while True:
        handle, path = make()
        if _is_locked(handle) and os.path.exists(path):
            return handle, path
        os.close(handle)  # somebody took it for a leftover before it was locked


def _is_locked(handle: int) -> bool:
    """Lock a file or folder, and return whether it is ours now.

    On a file system without locks it is: nobody removes what cannot be locked.
    """
    if not fcntl:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _remove_leftovers(folder: str) -> None:
    """Remove what killed processes left: nobody holds its locks any more."""
    if not fcntl:
        return
    try:
        names = os.listdir(folder)
    except OSError:  # a folder that may be written to and not be listed
        return
    for name in names:
        if name.startswith(".") and name.endswith(_SUFFIX):
            _remove_unlocked(os.path.join(folder, name))


def _remove_unlocked(path: str) -> None:
    with suppress(OSError):  # it is somebody else's, or was renamed or removed meanwhile
        handle = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(handle)


def _take_mode(path: str, target: str) -> None:
    """Give a new file the permissions of what it replaces, if it replaces anything."""
    with suppress(FileNotFoundError):
        os.chmod(path, stat.S_IMODE(os.stat(target).st_mode))
