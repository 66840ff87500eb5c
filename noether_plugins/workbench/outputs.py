"""The folder of a run: written whole, and never over another run unasked."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from noether_core import NoetherError

RESULT = "result.json"
WEIGHTS = "weights.safetensors"
CONFIG = "experiment.yaml"
PICTURE = "flow.png"
_FILES = (CONFIG, WEIGHTS, PICTURE, RESULT)


class OutputError(NoetherError, OSError):
    """The folder of a run cannot be used."""


@contextmanager
def staged(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield an empty folder beside *folder* whose files become those of *folder* when the block
    ends well.

    When it does not, nothing is left behind and an older run stays as it was.

    Raises:
        OutputError: If *folder* holds a run and may not be overwritten, or cannot be written to,
            both before the block runs; or if writing fails later.
    """
    _check(folder, overwrite=overwrite)
    made = _missing_folders(folder.parent)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-", suffix=".part"))
    except OSError as error:
        _remove_empty(made)
        raise _unwritable(folder, error) from error
    try:
        yield stage
        _publish(stage, folder)
    except NoetherError:
        raise
    except OSError as error:  # a full disk, say
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        _remove_empty(made)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write plain data as JSON."""
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _unwritable(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{folder}: cannot be written: {error.strerror}; name another folder with --output"
    )


def _check(folder: Path, *, overwrite: bool) -> None:
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise OutputError(f"{folder}: is no folder; name one with --output")
    for name in _FILES:
        if (folder / name).is_dir():
            raise OutputError(
                f"{folder / name}: is a folder where a file is to be; name another with --output"
            )
    if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            f"{folder}: cannot be written: permission denied; name another folder with --output"
        )
    if any((folder / name).exists() for name in _FILES) and not overwrite:
        raise OutputError(
            f"{folder}: already holds a run; name another folder with --output, or say --overwrite"
        )


def _publish(stage: Path, folder: Path) -> None:
    """Move the files into place; the result, by which a run is known to be whole, goes last and
    comes off first.
    """
    folder.mkdir(exist_ok=True)
    (folder / RESULT).unlink(missing_ok=True)
    for name in _FILES:
        (stage / name).replace(folder / name)


def _missing_folders(folder: Path) -> list[Path]:
    return [parent for parent in (folder, *folder.parents) if not parent.exists()]


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, the innermost first, that were made for a run which wrote nothing."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
