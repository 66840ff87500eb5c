"""Cases in the user's own files, as a task."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from noether_core.tasks import Fields, Layout, Sample, Task
from noether_plugins.tasks.lazy import LazySamples
from noether_plugins.tasks.points import predictions
from noether_plugins.tasks.points.config import PointsConfig
from noether_plugins.tasks.points.contents import Values
from noether_plugins.tasks.points.dataset import Dataset, Known, as_points, read_groups, survey

_MOST_POINTS: Final = 1_000_000
"""Points of a group by which a case is known where steps see some: for means and spreads."""


class PointsTask(Task):
    """Fields at points in files of your own: meshes, tables and arrays.

    All files are looked through when `layout`, `train` or `test` is first asked for, and every
    problem is raised at once. Cases of a gigabyte in all are kept in memory; others are read each
    time, and of those that are not compressed only the points that a step draws.

    With ``points_per_sample``, a step sees that many points of each group, drawn anew. A case of
    `test` is then as many points of it, always the same; one of `train` has all of its points, up
    to a million of each group.

    Args:
        config: What is where.
        seed: Seed of which files are held out, and of which points of a held-out case are seen.
    """

    config: PointsConfig

    @functools.cached_property
    def _dataset(self) -> Dataset:
        return survey(self.config, self.seed)

    @property
    def layout(self) -> Layout:
        """What all cases have in common.

        Raises:
            TaskError: If anything is wrong with the files; it has every problem.
        """
        return self._dataset.layout

    @property
    def train(self) -> Sequence[Sample]:
        """Cases to learn from.

        Raises:
            TaskError: If anything is wrong with the files; it has every problem.
        """
        return self._samples(self._dataset.train, least=_MOST_POINTS)

    @property
    def test(self) -> Sequence[Sample]:
        """Held-out cases.

        Raises:
            TaskError: If anything is wrong with the files; it has every problem.
        """
        return self._samples(self._dataset.test, least=0)

    def _samples(self, cases: Sequence[Known], least: int) -> Sequence[Sample]:
        """Return cases that are read when they are looked at, each time the same points of each."""

        def make(number: int) -> Sample:
            rng = np.random.default_rng([self.seed, number])
            return self._sample(cases[number], rng, least)

        return LazySamples(len(cases), make, size=None)

    @property
    def is_drawn(self) -> bool:
        """Whether ``points_per_sample`` says so."""
        return self.config.points_per_sample is not None

    def draw(self, number: int, rng: np.random.Generator) -> Sample:
        """Return a case to learn from, or some points of it, drawn from *rng*.

        Args:
            number: Which, from 0.
            rng: Source of all randomness.
        """
        return self._sample(self._dataset.train[number], rng, least=0)

    def _sample(self, known: Known, rng: np.random.Generator, least: int) -> Sample:
        """Return some points of a case, or all of them.

        Args:
            known: The case.
            rng: Says which points, where there are more than are seen.
            least: Points of each group that are seen if there are as many.
        """
        rows: dict[str, NDArray[np.int64]] = {}
        for name, contents in known.contents.items():
            wanted = self.config.points_of(name)
            count = contents.points if wanted is None else max(wanted, least)
            if count < contents.points:
                drawn = rng.choice(contents.points, count, replace=False, shuffle=False)
                rows[name] = np.sort(drawn)

        values: dict[str, Values] = {}
        on_disk = {}
        for name, contents in known.contents.items():
            if contents.values is None:
                on_disk[name] = self.config.groups[name]
            elif name in rows:
                values[name] = {part: array[rows[name]] for part, array in contents.values.items()}
            else:
                values[name] = contents.values
        values |= read_groups(known.case, on_disk, rows)
        return Sample(
            name=known.case.name,
            groups={
                name: as_points(values[name], self.layout.coordinates) for name in known.contents
            },
            inputs=known.inputs,
        )

    def read(self, file: Path, layout: Layout) -> Sample:
        """Return the case in a file, with its fields where the truth is there.

        Args:
            file: The file of the case; those of its other groups are found beside it.
            layout: What the model was trained on.

        Raises:
            TaskError: If it is no such case; the error has every problem.
            MissingExtraError: If what reads its format is not installed.
        """
        return predictions.read(self.config, Path(file), layout)

    def write(self, file: Path, predicted: Fields, folder: Path) -> tuple[Path, ...]:
        """Write predicted fields beside all else that the files of a case hold.

        An array ``pressure``, or the columns that make up a field, have their prediction beside
        them, ``predicted_pressure``. One of that name that is there is replaced, but for columns in
        text, which are refused.

        Args:
            file: What `read` was given.
            predicted: Fields of that case.
            folder: Where the new files go, under the names of the old ones.

        Returns:
            The files written.

        Raises:
            TaskError: If the format cannot hold them, or the folder is that of the file.
            OSError: If the folder cannot be written to.
        """
        return predictions.write(self.config, Path(file), predicted, Path(folder))
