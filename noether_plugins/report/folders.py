"""Which runs and comparisons the folders hold that a report is to be made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from noether_core import ConfigError, NoetherError, load
from noether_core.saving.runs import CHECKPOINT, RESULT, UNFINISHED, WEIGHTS
from noether_plugins.comparison.record import FILE, Comparison

_MARKS = (RESULT, WEIGHTS, f"{UNFINISHED}/{CHECKPOINT}", f"{UNFINISHED}/log.csv")
"""A folder with one of them is that of a run, in whatever state."""


class ReportError(NoetherError, OSError):
    """A report cannot be made of what was named, or cannot be written."""


class RunFolder(NamedTuple):
    """Where a run is, and what a report calls it."""

    folder: Path
    name: str


class ComparisonFolder(NamedTuple):
    """A comparison with its runs, those of each row in the order of its seeds."""

    folder: Path
    name: str
    comparison: Comparison | None
    """What it found; None if its file cannot be read."""

    problem: str
    """Why it cannot."""

    runs: tuple[tuple[Path, ...], ...]
    """Folders of the runs of each row; one row of all that are there if it cannot be read."""


class Found(NamedTuple):
    """All that a report shows."""

    runs: tuple[RunFolder, ...]
    comparisons: tuple[ComparisonFolder, ...]


def find(folders: Sequence[Path]) -> Found:
    """Return the runs and comparisons in *folders*, each once and named such that all names differ.

    Raises:
        ReportError: If a folder is not there, or holds neither; the message names all that do not.
    """
    faults: list[str] = []
    found: dict[Path, Path] = {}
    for folder in folders:
        parts = [folder] if _is_shown(folder) else _within(folder)
        if not parts:
            faults.append(f"{folder}: {_missing(folder)}")
        for part in parts:
            found.setdefault(part.resolve(), part)
    if faults:
        raise ReportError("\n".join(faults))

    shown = list(found.values())
    comparisons = _named_comparisons([each for each in shown if (each / FILE).exists()])
    alone = [each for each in shown if not (each / FILE).exists()]
    return Found(_named_runs(alone, comparisons), comparisons)


def _is_shown(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in (FILE, *_MARKS))


def _within(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(each for each in folder.iterdir() if each.is_dir() and _is_shown(each))


def _missing(folder: Path) -> str:
    if not folder.is_dir():
        return "there is no such folder"
    return f"holds no run and no comparison: neither {RESULT} nor {FILE} is there"


def _named_comparisons(folders: Sequence[Path]) -> tuple[ComparisonFolder, ...]:
    return tuple(
        _read_comparison(folder, name)
        for folder, name in zip(folders, _names(folders), strict=True)
    )


def _read_comparison(folder: Path, name: str) -> ComparisonFolder:
    try:
        comparison = load(folder / FILE, Comparison)
    except (ConfigError, OSError) as error:
        every = tuple(sorted(each for each in folder.glob("runs/*/*") if _is_shown(each)))
        return ComparisonFolder(folder, name, None, str(error), (every,))
    runs = tuple(_runs_of(folder, row.runs) for row in comparison.rows)
    return ComparisonFolder(folder, name, comparison, "", runs)


def _runs_of(folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Return the folders of a row's runs that are there, none of them outside of *folder*.

    A file from elsewhere may name any folder of this machine.
    """
    inside = folder.resolve()
    folders = (folder / name for name in names)
    return tuple(
        each for each in folders if each.resolve().is_relative_to(inside) and _is_shown(each)
    )


def _named_runs(
    alone: Sequence[Path], comparisons: Sequence[ComparisonFolder]
) -> tuple[RunFolder, ...]:
    named = {
        folder.resolve(): RunFolder(folder, name)
        for folder, name in zip(alone, _names(alone), strict=True)
    }
    for each in comparisons:
        prefix = f"{each.name}: " if len(comparisons) > 1 else ""
        for folder, name in _runs_by_row(each):
            named[folder.resolve()] = RunFolder(folder, f"{prefix}{name}")
    return tuple(named.values())


def _runs_by_row(found: ComparisonFolder) -> Iterator[RunFolder]:
    for number, folders in enumerate(found.runs):
        for folder in folders:
            row = folder.parent.name
            if found.comparison is not None:
                row = found.comparison.rows[number].name
            yield RunFolder(folder, f"{row}, {folder.name}")


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the shortest ends of paths that are all different."""
    parts = [folder.resolve().parts for folder in folders]
    names = ["/".join(each[-1:]) for each in parts]
    for length in range(2, max(map(len, parts), default=0) + 1):
        taken = Counter(names)
        names = [
            "/".join(each[-length:]) if taken[name] > 1 else name
            for each, name in zip(parts, names, strict=True)
        ]
    return names
