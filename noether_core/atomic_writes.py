"""Files and folders that are written whole or not at all, and folders that one process keeps."""

from __future__ import annotations

import errno
import os
import shutil
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
    if encoded.endswith((os.fsencode(os.sep), b"/")) or os.path.basename(encoded) in (b".", b".."):
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


@contextmanager
def staged_folder(target: str | os.PathLike[str], *, last: str) -> Iterator[str]:
    """Yield an empty folder whose files become those of *target* once the block ends well.

    Until then it is a hidden folder beside *target*, which stays as it was. A process that is
    killed leaves the hidden folder behind; whoever stages a folder beside it next removes it.

    Args:
        target: The folder, which need not be there; the one that it lies in must be.
        last: The file by which readers know that all others are there; see `publish_folder`.

    Raises:
        OSError: If the folder around *target* cannot be written to, or publishing fails.
    """
    parent, name = os.path.split(os.path.realpath(target))
    _remove_leftovers(parent)
    handle, stage = _locked_new(lambda: _new_folder(parent, name))
    try:
        yield stage
        publish_folder(stage, target, last=last)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        os.close(handle)


def publish_folder(
    stage: str | os.PathLike[str], target: str | os.PathLike[str], *, last: str
) -> None:
    """Move all files of a folder into another one, and the first folder away.

    Where *target* is missing or empty, the folder itself takes its place. Otherwise files of the
    same names are replaced and all others stay: an older *last* is removed before the first file
    changes, and the new one comes when all others are on the disk. So whoever finds *last* finds
    the files that belong to it, whenever the process, or the machine, stops.

    Args:
        stage: The folder with the files, on the same file system as *target*. It holds no folders.
        target: The folder that is to hold them.
        last: The file by which readers know that all others are there; one of those in *stage*.

    Raises:
        OSError: If *target* cannot be written to, or *stage* has no file *last*.
    """
    target = os.path.realpath(target)
    names = sorted(os.listdir(stage), key=lambda name: (name == last, name))
    for name in names:
        sync(os.path.join(stage, name))
    os.stat(os.path.join(stage, last))  # before anything of an older target is touched

    if _is_renamed(stage, target):
        return
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(target, last))
    for name in names:
        # a disk may order renames as it likes: the old mark must be gone before the first of them,
        # and the new one must not come before the others
        if name in (names[0], last):
            sync(target)
        os.replace(os.path.join(stage, name), os.path.join(target, name))
    sync(target)
    os.rmdir(stage)


def _is_renamed(stage: str | os.PathLike[str], target: str) -> bool:
    """Let a folder take the place of one that is missing or empty; return whether it could."""
    if os.path.isdir(target) and os.listdir(target):
        return False
    _take_mode(stage, target)
    if not fcntl and os.path.isdir(target):
        os.rmdir(target)  # Windows renames onto no folder, not even an empty one
    os.rename(stage, target)
    sync(os.path.dirname(target))
    return True


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


def _new_folder(parent: str, name: str) -> tuple[int, str]:
    """Return a new hidden folder, open so that it can be locked, and its name."""
    while True:
        folder = os.path.join(parent, f".{name}-{_random_name()}{_SUFFIX}")
        with suppress(FileExistsError):
            os.mkdir(folder)
            break
    return os.open(folder if fcntl else os.devnull, os.O_RDONLY), folder


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
        is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
        handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_folder:
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)
        finally:
            os.close(handle)


def _take_mode(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Give a new file or folder the permissions of what it replaces, if it replaces anything."""
    with suppress(FileNotFoundError):
        os.chmod(path, stat.S_IMODE(os.stat(target).st_mode))
