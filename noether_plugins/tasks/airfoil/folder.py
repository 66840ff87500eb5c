"""The sections of a folder of coordinate files: all checked at once, and some of them held out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from noether_core.tasks import TaskError
from noether_plugins.tasks.airfoil.contours import FloatArray
from noether_plugins.tasks.airfoil.geometry import turn_into_stream
from noether_plugins.tasks.airfoil.panels import PanelFlow, solve
from noether_plugins.tasks.airfoil.sections import Section, Walk, read_section, walk_around

_FASTEST = 100.0
"""Speed over that of the stream that no section reaches at a small angle."""


class Chord(NamedTuple):
    """Where the chord of a section lies in the coordinates of its file."""

    tail: FloatArray
    """``(2,)``: the middle of the trailing edge."""

    length: float
    """From there to the farthest node."""

    def to_unit(self, points: FloatArray) -> FloatArray:
        """Return points ``(..., 2)`` in chords, the tail at (1, 0)."""
        return np.asarray((points - self.tail) / self.length + (1.0, 0.0))

    def from_unit(self, points: FloatArray) -> FloatArray:
        """Undo `to_unit`."""
        return np.asarray((points - (1.0, 0.0)) * self.length + self.tail)


class FileSection(NamedTuple):
    """A section of a file, and how it goes around its body."""

    section: Section
    """As the file has it."""

    walk: Walk
    """How its nodes go around it."""

    chord: Chord
    """Where its chord lies."""

    def flow(self, angle_of_attack: float) -> PanelFlow:
        """Return its flow at an angle in degrees, in chords, in the frame of the stream."""
        return solve(turn_into_stream(self.chord.to_unit(self.walk.contour), angle_of_attack))


def open_section(file: Path) -> FileSection:
    """Return the section of a coordinate file.

    Raises:
        TaskError: If it has no section whose flow can be found, with the name of the file and the
            reason.
    """
    if file.exists() and not file.is_file():  # a pipe would be waited for
        raise TaskError(f"{file}: is no file of points")
    try:
        section = read_section(file)
    except ValueError as error:  # which names the file already
        raise TaskError(str(error)) from error
    except OSError as error:
        raise TaskError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        return _checked(section)
    except ValueError as error:
        reason = str(error).removeprefix("points: ")
        raise TaskError(f"{file}: {reason}") from error


def _checked(section: Section) -> FileSection:
    walk = walk_around(section.nodes)
    tail = (walk.contour[0] + walk.contour[-1]) / 2
    length = float(np.hypot(*(walk.contour - tail).T).max())
    opened = FileSection(section, walk, Chord(tail, length))

    # Flows at all angles are sums of those at two, and all are as well determined as one of them.
    fastest = float(np.abs(opened.flow(0.0).speeds).max())
    if not fastest < _FASTEST:
        raise ValueError(
            f"its flow cannot be found: the speed on it comes out as {fastest:.3g} times that of "
            "the stream; are sides so near each other that more points are needed?"
        )
    return opened


def open_folder(folder: Path) -> list[FileSection]:
    """Return the sections of all files in a folder but hidden ones, in the order of their names.

    Raises:
        TaskError: If the folder cannot be listed, holds fewer than two files, or files that are no
            sections: all of those are named, each with the reason.
    """
    try:
        files = sorted(
            path for path in folder.iterdir() if not (path.is_dir() or path.name.startswith("."))
        )
    except OSError as error:
        raise TaskError(f"task.contours: {folder}: cannot be listed: {error.strerror}") from error
    if len(files) < 2:  # noqa: PLR2004  one to learn from, one to hold out
        raise TaskError(
            f"task.contours: {folder}: holds {len(files)} files; give at least 2 coordinate files, "
            "one of which is held out"
        )

    opened: list[FileSection] = []
    faults: list[str] = []
    for file in files:
        try:
            opened.append(open_section(file))
        except TaskError as error:
            faults.append(str(error))
    if faults:
        lines = "\n".join(f"  {fault}" for fault in faults)
        raise TaskError(
            f"task.contours: {len(faults)} of {len(files)} files are no sections whose flow can be "
            f"found; mend them or move them elsewhere:\n{lines}"
        )
    return opened


class Split(NamedTuple):
    """Sections to learn from, and those held out."""

    train: list[FileSection]
    test: list[FileSection]


def split(sections: list[FileSection], share: float, seed: int) -> Split:
    """Hold out a share of sections, drawn from *seed*; at least one, and not all.

    Args:
        sections: At least two.
        share: Of them to hold out, between 0 and 1.
        seed: Of the draw.
    """
    count = math.floor(share * len(sections) + 0.5)
    count = min(max(count, 1), len(sections) - 1)
    order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,))).permutation(
        len(sections)
    )
    held_out = set(order[:count].tolist())
    return Split(
        [section for number, section in enumerate(sections) if number not in held_out],
        [section for number, section in enumerate(sections) if number in held_out],
    )
