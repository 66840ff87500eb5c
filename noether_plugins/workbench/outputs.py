"""The folder of a run: who may write there, what is unfinished in it, and how a run is published.

A finished run is the files of `FINISHED`, of which `RESULT` comes last. Until then everything lies
in the folder `UNFINISHED` within, so that an older run stays whole beside it.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from noether_core import NoetherError
from noether_core.atomic_writes import lock_folder, sync
from noether_core.saving.runs import CHECKPOINT, RESULT, UNFINISHED, WEIGHTS

CONFIG: Final = "experiment.yaml"
PICTURE: Final = "picture.png"
LOG: Final = "log.csv"

EVENTS: Final = "events.out.tfevents."
"""How the names of TensorBoard's files begin."""

FINISHED: Final = (CONFIG, WEIGHTS, PICTURE, LOG, RESULT)

_STAGE: Final = "run"
"""Within `UNFINISHED`: a run that is whole and not published yet."""

_PREVIOUS: Final = "previous"
"""Within `UNFINISHED`: the older run, while another one takes its place."""

_OTHER: Final = "name another folder with --output"


class OutputError(NoetherError, OSError):
    """The folder of a run cannot be used."""


class TakenError(OutputError):
    """Another run is in the folder where a run was to be published; the message says where it is.

    Attributes:
        kept: The folder in which the refused run is.
    """

    def __init__(self, folder: Path, kept: Path) -> None:
        super().__init__(folder, kept)
        self.folder = folder
        self.kept = kept

    def __str__(self) -> str:
        return (
            f"{self.folder}: holds another run now, which came meanwhile; "
            f"this one is kept in {self.kept}"
        )


def new_folder(wanted: Path) -> Path:
    """Make and return the folder *wanted*, or where it is taken the next one: ``name-2``, say.

    Whoever makes it has it: of two runs that start together each gets its own.

    Raises:
        OSError: If the folder around it cannot be written to.
    """
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError  # there is always a next number


def latest_folder(wanted: Path) -> Path | None:
    """Return the folder of the last unfinished run that was called *wanted*, numbered or not.

    Where none is unfinished it is that of the last run that is over; None where there is neither.
    """
    unfinished: list[tuple[int, Path]] = []
    finished: list[tuple[int, Path]] = []
    for folder in wanted.parent.glob(f"{_escaped(wanted.name)}*"):
        rest = folder.name.removeprefix(wanted.name)
        if rest and not (rest[0] == "-" and rest[1:].isdecimal()):
            continue
        for files, name in ((unfinished, f"{UNFINISHED}/{CHECKPOINT}"), (finished, RESULT)):
            with suppress(OSError):
                files.append(((folder / name).stat().st_mtime_ns, folder))
    found = unfinished or finished
    return max(found)[1] if found else None


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


class RunFolder:
    """The folder of a run, which this process keeps for itself as long as it is at work there.

    Args:
        path: The folder.
        handle: What keeps it, as `lock_folder` returned it; None for one that is only looked at.
        replaces: Digest of the result that may be replaced; None if there is none.
    """

    def __init__(self, path: Path, handle: int | None = None, replaces: str | None = None) -> None:
        self.path = path
        self.replaces = replaces
        self._handle = handle

    @property
    def unfinished(self) -> Path:
        """The folder within for what is needed to go on."""
        return self.path / UNFINISHED

    @property
    def checkpoint(self) -> Path:
        """The file for the state of the training."""
        return self.unfinished / CHECKPOINT

    @property
    def result(self) -> dict[str, Any] | None:
        """The result of the run that is there; None if none is whole."""
        with suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads((self.path / RESULT).read_bytes())
            return found
        return None

    @property
    def is_kept(self) -> bool:
        """Whether the folder is still the one that this process keeps.

        It is not where somebody removed it meanwhile, or put another one into its place.
        """
        if self._handle is None:
            return False
        if os.name != "posix":
            return self.path.exists()
        with suppress(OSError):
            return os.path.samestat(self.path.stat(), os.fstat(self._handle))
        return False

    def check_kept(self) -> None:
        """Check that what is written to the folder is written where this process may.

        Raises:
            OSError: If somebody removed the folder, or put another one into its place.
        """
        if not self.is_kept:
            raise FileNotFoundError(errno.ENOENT, f"{self.path} was removed or replaced")

    def check_free(self) -> None:
        """Check that nothing of a run is there, finished or not.

        Raises:
            OutputError: If there is; the message says how to go on.
        """
        if _files_of_run(self.path):
            raise OutputError(f"{self.path}: already holds a run; {_OTHER}, or say --overwrite")
        if self.checkpoint.exists():
            ways = f"go on with it with --resume, begin anew with --overwrite, or {_OTHER}"
            raise OutputError(f"{self.path}: holds an unfinished run; {ways}")

    def begin(self) -> Path:
        """Make the folder `unfinished` anew, without what an older run left, and return it.

        Raises:
            OSError: If it cannot be made.
        """
        shutil.rmtree(self.unfinished, ignore_errors=True)
        self.unfinished.mkdir(exist_ok=True)
        return self.unfinished

    def new_stage(self) -> Path:
        """Return an empty folder for the files of the finished run.

        Raises:
            OSError: If it cannot be made.
        """
        if not self.is_kept and not self.path.exists():
            self._handle = _locked(self.path)  # somebody removed it, and nobody else has it
        if not self.is_kept:
            return new_folder(self.path)
        stage = self.unfinished / _STAGE
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(parents=True)
        return stage

    def copy_events(self, stage: Path) -> None:
        """Let *stage* have what was written for TensorBoard so far.

        Raises:
            OSError: If it cannot be written.
        """
        with suppress(FileNotFoundError):
            for file in self.unfinished.glob(f"{EVENTS}*"):
                _copy(file, stage / file.name)

    def publish(self, stage: Path, *, is_over: bool) -> Path:
        """Let the files of *stage* become those of the run, all or none, and return its folder.

        An older run is replaced if it is the one that was to be, and stays whole until then.

        Args:
            stage: What `new_stage` returned, with all files; `RESULT` is one of them.
            is_over: Whether nothing is left to do: what is unfinished is removed then.

        Raises:
            TakenError: If another run is there now; this one was moved beside it.
            OSError: If the folder cannot be written to. The older run is whole, and the new one in
                *stage*.
        """
        for name in _names(stage):
            sync(stage / name)
        if not self._is_free():
            raise TakenError(self.path, self._kept_aside(stage, is_over=is_over))

        previous = self._kept_previous()
        names = [name for name in _names(stage) if name != RESULT]
        try:
            _remove(self.path, [RESULT])
            sync(self.path)  # the old mark is gone before the first file changes
            _remove(self.path, set(_files_of_run(self.path)) - set(names))
            for name in names:
                _place(stage / name, self.path / name)
            sync(self.path)  # a disk may order renames as it likes: the mark comes last there too
            _place(stage / RESULT, self.path / RESULT)
            sync(self.path)
        except BaseException:
            _restore(self.path, previous, [*names, RESULT])
            raise
        shutil.rmtree(previous, ignore_errors=True)
        shutil.rmtree(stage, ignore_errors=True)
        self.replaces = _digest(self.path / RESULT)
        if is_over:
            shutil.rmtree(self.unfinished, ignore_errors=True)
        return self.path

    def _is_free(self) -> bool:
        """Return whether the folder holds no run but the one that may be replaced."""
        if not self.is_kept:
            return False
        return _digest(self.path / RESULT) == self.replaces

    def _kept_previous(self) -> Path:
        """Return a folder with the files of the run that is there, which may be none."""
        previous = self.unfinished / _PREVIOUS
        shutil.rmtree(previous, ignore_errors=True)
        previous.mkdir()
        for name in _files_of_run(self.path):  # of which the result is the last
            _copy(self.path / name, previous / name)
        sync(previous)
        return previous

    def _kept_aside(self, stage: Path, *, is_over: bool) -> Path:
        """Move a run that may not be published to a folder of its own, and return that."""
        if not self.is_kept:  # there it is already
            return stage
        try:
            aside = new_folder(self.path)
            for name in _names(stage):
                _move(stage / name, aside / name)
            stage.rmdir()
            if is_over:
                shutil.rmtree(self.unfinished, ignore_errors=True)
            else:
                _move(self.unfinished, aside / UNFINISHED)
        except OSError:
            return stage
        return aside


@contextmanager
def kept(
    folder: Path, *, overwrite: bool, resume: bool, is_reserved: bool = False
) -> Iterator[RunFolder]:
    """Yield a folder that no other run uses until the block ends.

    What was made for a run that wrote nothing is removed in the end.

    Args:
        folder: The folder, which need not be there.
        overwrite: Whether a run that is there, finished or not, may be replaced.
        resume: Whether it may be gone on with.
        is_reserved: Whether the folder, and the one around it, were made for this run just now.

    Raises:
        OutputError: If the folder holds a run and neither may be, another run is at work in it, or
            it cannot be used.
    """
    _check(folder)
    made = [each for each in (folder, *folder.absolute().parents) if not each.exists()]
    if is_reserved:
        made = [folder, folder.parent]
    handle = _locked(folder)
    place = RunFolder(folder, handle)
    try:
        _undo_half(folder)
        place.replaces = _digest(folder / RESULT)
        if not overwrite and not resume:
            place.check_free()
        yield place
    finally:
        if place.is_kept:
            _remove_leftovers(folder)
            _remove_empty(made)
        os.close(handle)


def _check(folder: Path) -> None:
    """Refuse a folder now that would be refused when the work is done."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise OutputError(f"{folder}: is no folder; name one with --output")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: cannot be written: permission denied; {_OTHER}")
    for name in FINISHED:
        if (folder / name).is_dir():
            raise OutputError(f"{folder / name}: is a folder where a file is to be; {_OTHER}")
    if (folder / UNFINISHED).exists() and not (folder / UNFINISHED).is_dir():
        raise OutputError(f"{folder / UNFINISHED}: is a file where a folder is to be; {_OTHER}")


def _locked(folder: Path) -> int:
    """Make the folder where it is missing, and keep it for this process."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = lock_folder(folder)
        except FileNotFoundError:  # removed again by a run that came to nothing
            continue
        except OSError as error:
            raise unwritable(folder, error) from error
        if handle is None:
            raise OutputError(f"{folder}: another run is at work there; wait for it, or {_OTHER}")
        with suppress(FileNotFoundError):
            if os.name != "posix" or os.path.samestat(folder.stat(), os.fstat(handle)):
                return handle
        os.close(handle)


def unwritable(folder: Path, error: OSError) -> OutputError:
    """Return the error of a folder that cannot be written to."""
    reason = f"cannot be written: {error.strerror or error}"
    return OutputError(f"{folder}: {reason}; {_OTHER}")


def _undo_half(folder: Path) -> None:
    """Put an older run back whose place another one was about to take when it was killed."""
    previous = folder / UNFINISHED / _PREVIOUS
    if (previous / RESULT).exists() and not (folder / RESULT).exists():
        _restore(folder, previous, _files_of_run(folder))
    shutil.rmtree(previous, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """Remove what cannot be gone on with: without a checkpoint nothing can, nor found without."""
    unfinished = folder / UNFINISHED
    is_used = (unfinished / CHECKPOINT, unfinished / _STAGE / RESULT)
    if not any(path.exists() for path in is_used):
        shutil.rmtree(unfinished, ignore_errors=True)


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, the innermost first, that were made for a run which wrote nothing."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


def _files_of_run(folder: Path) -> list[str]:
    """Return which files of a run a folder has, the result last."""
    return [name for name in _names(folder) if name in FINISHED or name.startswith(EVENTS)]


def _names(folder: Path) -> list[str]:
    """Return the names of what lies in a folder, sorted, but the result last."""
    return sorted((each.name for each in folder.iterdir()), key=lambda name: (name == RESULT, name))


def _digest(file: Path) -> str | None:
    """Return a digest of a file's content; None if there is no such file."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def _place(source: Path, target: Path) -> None:
    """Let *target* have the content of *source*, which stays, at once."""
    # beside the source, so that nothing is left beside the target when it comes to nothing
    copy = source.with_name(f".{source.name}.copy")
    copy.unlink(missing_ok=True)
    _copy(source, copy)
    try:
        copy.replace(target)
    finally:
        copy.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """Make *target*, with the content of *source*."""
    try:
        target.hardlink_to(source)
    except OSError:  # a file system without links
        shutil.copy2(source, target)
        sync(target)


def _move(source: Path, target: Path) -> None:
    shutil.move(source, target)


def _remove(folder: Path, names: Any) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _restore(folder: Path, previous: Path, newer: list[str]) -> None:
    """Put the files of an older run back, and remove those of the newer one."""
    older = _files_of_run(previous)
    _remove(folder, [name for name in newer if name not in older])
    for name in older:
        with suppress(OSError):  # it is whole in the other folder
            os.rename(previous / name, folder / name)  # noqa: PTH104  the result last, as ever
