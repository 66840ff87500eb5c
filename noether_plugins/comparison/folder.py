"""The folder of a comparison: who may write there, and what it holds."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs

from noether_core import ConfigError, NoetherError, dump, structure
from noether_core.atomic_writes import lock_folder, write_whole
from noether_core.saving.runs import RESULT
from noether_core.schemas import Schema
from noether_plugins.comparison.plan import RUNS
from noether_plugins.comparison.record import FILE, Comparison
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.outputs import CONFIG, OutputError, new_folder, unwritable

TABLE: Final = "table.md"

PICTURES: Final = ("errors", "cost", "scaling")
"""Names of the pictures, each a ``.png`` and an ``.svg``."""

_COMPARISONS = "comparisons"
"""Where comparisons go of which nobody says where."""

_OTHER: Final = "name another folder with --output"


class ComparisonError(NoetherError, ValueError):
    """A comparison cannot be gone on with as it was asked for."""


@attrs.frozen(kw_only=True)
class Wish:
    """What the command line says of the folder."""

    file: str
    """The file of the experiment; its name is the default name of the comparison."""

    output: str | None = None
    """Folder of the comparison; ``comparisons/`` and the name of *file*, numbered where it is
    taken, if None."""

    overwrite: bool = False
    """Whether a comparison that the folder holds is replaced."""

    resume: bool = False
    """Whether the comparison that is there is gone on with; where there is none, it starts."""


class Folder:
    """The folder of a comparison, which this process keeps for itself."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def file(self) -> Path:
        """The file that says what was found."""
        return self.path / FILE

    def begin(self, experiment: Experiment) -> None:
        """Make the folder ready, without what an older comparison left.

        Raises:
            OutputError: If it cannot be written to.
        """
        pictures = [f"{name}.{suffix}" for name in PICTURES for suffix in ("png", "svg")]
        try:
            # the mark goes first: without it nothing here is taken for a comparison
            for name in (FILE, TABLE, *pictures):
                (self.path / name).unlink(missing_ok=True)
            shutil.rmtree(self.path / RUNS, ignore_errors=True)
            dump(experiment, self.path / CONFIG)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def read(self) -> Comparison | None:
        """Return the comparison that is there; None where there is none.

        Raises:
            ComparisonError: If its file is damaged.
        """
        return read_comparison(self.file) if self.file.exists() else None

    def write(self, comparison: Comparison) -> None:
        """Write the file of the comparison, whole or not at all.

        Raises:
            OutputError: If it cannot be written.
        """
        try:
            write_whole(self.file, text_of(comparison))
        except OSError as error:
            raise unwritable(self.path, error) from error


def text_of(comparison: Comparison) -> str:
    """Return ``compare.json``: every name is there, with null for what is not known."""
    return json.dumps(_plain(comparison), indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Schema):
        fields = attrs.fields(type(value))
        return {field.name: _plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no such number
    return value


def read_comparison(file: Path) -> Comparison:
    """Return what a ``compare.json`` says.

    Raises:
        ComparisonError: If it cannot be read, or is none.
    """
    remedy = "begin anew with --overwrite"
    try:
        return structure(json.loads(file.read_bytes()), Comparison)
    except OSError as error:
        raise ComparisonError(f"{file}: cannot be read: {error.strerror or error}") from error
    except ConfigError as error:
        reason = "; ".join(problem.headline for problem in error.problems)
        raise ComparisonError(f"{file}: is no comparison: {reason}; {remedy}") from error
    except ValueError as error:
        raise ComparisonError(f"{file}: is damaged: {error}; {remedy}") from error


@contextmanager
def kept(wish: Wish) -> Iterator[Folder]:
    """Yield a folder that no other comparison uses until the block ends.

    What was made for a comparison that wrote nothing is removed in the end.

    Raises:
        OutputError: If the folder holds a comparison, and it may neither be replaced nor gone on
            with; if it holds a run; if another comparison is at work there; if it cannot be used.
    """
    path, made = _folder(wish)
    try:
        handle = lock_folder(path)
    except OSError as error:
        raise unwritable(path, error) from error
    if handle is None:
        raise OutputError(f"{path}: another comparison is at work there; wait, or {_OTHER}")
    try:
        _check(path, wish)
        yield Folder(path)
    finally:
        for each in made:
            with suppress(OSError):  # it is not empty
                each.rmdir()
        os.close(handle)


def _check(path: Path, wish: Wish) -> None:
    if (path / RESULT).exists():
        raise OutputError(f"{path}: holds a run; {_OTHER}")
    if (path / FILE).exists() and not wish.resume and not wish.overwrite:
        ways = f"go on with it with --resume, begin anew with --overwrite, or {_OTHER}"
        raise OutputError(f"{path}: already holds a comparison; {ways}")


def _folder(wish: Wish) -> tuple[Path, list[Path]]:
    """Return the folder of a comparison, and those that were made for it just now."""
    if wish.output == "":
        raise OutputError("--output names no folder")
    wanted = Path(_COMPARISONS) / (Path(wish.file).stem or "comparison")
    if wish.output is not None:
        wanted = Path(wish.output)
    elif wish.resume:
        wanted = _latest(wanted) or wanted
    made = [each for each in (wanted, *wanted.absolute().parents) if not each.exists()]
    try:
        if wish.output is None and not wish.resume and not wish.overwrite:
            folder = new_folder(wanted)
            return folder, [folder, folder.parent]
        wanted.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{wanted}: is no folder; name one with --output") from error
    except OSError as error:
        raise unwritable(wanted, error) from error
    return wanted, made


def _latest(wanted: Path) -> Path | None:
    """Return the folder of the last comparison that was called *wanted*, numbered or not."""
    found: list[tuple[int, Path]] = []
    with suppress(OSError):
        for folder in wanted.parent.iterdir():
            rest = folder.name.removeprefix(wanted.name)
            is_one = folder.name.startswith(wanted.name)
            if not is_one or (rest and not (rest[0] == "-" and rest[1:].isdecimal())):
                continue
            with suppress(OSError):
                found.append(((folder / FILE).stat().st_mtime_ns, folder))
    return max(found)[1] if found else None
