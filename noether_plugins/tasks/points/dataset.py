"""All cases looked through before anything is trained: every problem, and the layout they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
from numpy.typing import NDArray

from noether_core.quoting import visible
from noether_core.tasks import GroupLayout, Layout, Points, Quantity, TaskError
from noether_plugins.tasks.points.cases import Case, split_cases
from noether_plugins.tasks.points.config import PointsConfig, PointsGroup
from noether_plugins.tasks.points.contents import Contents, GroupReader, Part, Values, examine
from noether_plugins.tasks.points.formats import open_file
from noether_plugins.tasks.points.formats.source import File, FileFault, Shape
from noether_plugins.tasks.points.parameters import Parameters

MOST_KEPT_BYTES: Final = 1 << 30
"""Memory for cases that are kept once they were read; others are read each time."""

_MOST_PROBLEMS: Final = 300
"""Problems that one error holds; files are looked at until there are so many."""

_SPACE = 3


@attrs.frozen
class Known:
    """A case that was looked through, all of whose groups are sound."""

    case: Case
    contents: Mapping[str, Contents]
    inputs: Mapping[str, NDArray[Any]]


@attrs.frozen
class Dataset:
    """All cases, and what they have in common."""

    layout: Layout
    train: Sequence[Known]
    test: Sequence[Known]


class OpenFiles:
    """Files of one case, each opened once however many groups are in it."""

    def __init__(self) -> None:
        self._files: dict[Path, File | FileFault] = {}

    def get(self, path: Path) -> File:
        """Return a file.

        Raises:
            FileFault: If it cannot be opened.
        """
        if path not in self._files:
            try:
                self._files[path] = open_file(str(path))
            except FileFault as fault:
                self._files[path] = fault
        found = self._files[path]
        if isinstance(found, FileFault):
            raise found
        return found

    def opened(self, path: Path) -> File | None:
        """Return a file, or None where it cannot be opened, which others tell of."""
        try:
            return self.get(path)
        except FileFault:
            return None


def survey(config: PointsConfig, seed: int) -> Dataset:
    """Look through the files of all cases.

    Raises:
        TaskError: If anything is wrong with them; it has every problem, with its file and place.
        MissingExtraError: If what reads one of their formats is not installed.
    """
    split = split_cases(config, seed)
    problems = list(split.problems)
    parameters = Parameters(config)
    known: dict[Path, Known] = {}
    bytes_left = MOST_KEPT_BYTES
    cases = sorted([*split.train, *split.test], key=lambda case: case.file)
    for number, case in enumerate(cases):
        found = _look_at(case, config, parameters, bytes_left, problems)
        known[case.file] = found
        bytes_left -= sum(map(_bytes_of, found.contents.values()))
        if len(problems) > _MOST_PROBLEMS:
            problems.append(f"{len(cases) - number - 1} more files were not looked at")
            break

    merged = _Merged(config)
    for found in known.values():
        problems += merged.add(found)
    problems += merged.coordinate_problems()
    refuse(problems)
    return Dataset(
        merged.layout(),
        [known[case.file] for case in split.train],
        [known[case.file] for case in split.test],
    )


def refuse(problems: Sequence[str]) -> None:
    """Raise all problems at once, if there are any.

    Raises:
        TaskError: If there are.
    """
    if problems:
        raise TaskError("\n".join(map(visible, dict.fromkeys(problems))))


def _look_at(
    case: Case,
    config: PointsConfig,
    parameters: Parameters,
    most_bytes: int,
    problems: list[str],
) -> Known:
    """Return what is known of a case, and add what is wrong with it to *problems*."""
    files = OpenFiles()
    contents: dict[str, Contents] = {}
    for name, group in config.groups.items():
        path = case.groups[name]
        try:
            reader = GroupReader(files.get(path), group)
        except FileFault as fault:
            problems += told(path, fault.faults)
            continue
        found = examine(reader, most_bytes=most_bytes)
        problems += told(path, [f"{name}.{text}" for text in found.problems])
        contents[name] = found
        most_bytes -= _bytes_of(found)
    try:
        inputs = parameters.of(case, files.opened(case.file))
    except FileFault as fault:
        problems += fault.faults
        inputs = {}
    return Known(case, contents, inputs)


def told(path: Path, faults: Sequence[str]) -> list[str]:
    """Return faults with the file that has them."""
    return [f"{path}: {fault}" for fault in faults]


def _bytes_of(contents: Contents) -> int:
    return sum(values.nbytes for values in (contents.values or {}).values())


class _Merged:
    """What all cases have in common: the first of each decides, and others that differ are told."""

    def __init__(self, config: PointsConfig) -> None:
        self._config = config
        self._shapes: dict[tuple[str, Part], tuple[Shape, Path]] = {}
        self._inputs: dict[str, tuple[int, Path]] = {}
        self._heights: set[float] = set()

    def add(self, known: Known) -> Iterator[str]:
        """Take a case in, and yield what of it differs from the cases before."""
        for group, contents in known.contents.items():
            path = known.case.groups[group]
            self._heights |= contents.heights
            for part, shape in contents.shapes.items():
                first, where = self._shapes.setdefault((group, part), (shape, path))
                yield from _differences(f"{path}: {group}.{part}", shape, first, where)
        for name, value in known.inputs.items():
            width, where = self._inputs.setdefault(name, (len(value), known.case.file))
            if width != len(value):
                yield (
                    f"{known.case.file}: {name!r} has {_numbers(len(value))}, "
                    f"and {_numbers(width)} in {where}"
                )

    def coordinate_problems(self) -> Iterator[str]:
        """Yield a problem if points of groups have different numbers of coordinates."""
        widths = {
            group: (shape.width, where)
            for (group, part), (shape, where) in self._shapes.items()
            if part.kind == "positions"
        }
        if len({width for width, _ in widths.values()}) > 1:
            text = ", ".join(
                f"{width} in {group!r} ({where})" for group, (width, where) in widths.items()
            )
            yield f"groups: points have different numbers of coordinates: {text}"

    def layout(self) -> Layout:
        """Return the layout, once there are no problems."""
        groups = {
            name: GroupLayout(
                inputs=self._quantities(name, "inputs"), fields=self._quantities(name, "fields")
            )
            for name in self._config.groups
        }
        units = self._config.units
        return Layout(
            coordinates=self._coordinates(),
            groups=groups,
            inputs={
                name: Quantity(width=width, unit=units.get(name, ""))
                for name, (width, _) in self._inputs.items()
            },
        )

    def _coordinates(self) -> int:
        width = next(
            shape.width
            for (_, part), (shape, _) in self._shapes.items()
            if part.kind == "positions"
        )
        # files of meshes have a third coordinate also where the problem has none
        is_flat = width == _SPACE and len(self._heights) == 1
        return _SPACE - 1 if is_flat else width

    def _quantities(self, group: str, kind: str) -> dict[str, Quantity]:
        units = self._config.units
        return {
            part.name: Quantity(
                width=shape.width,
                unit=units.get(f"{group}.{part.name}", units.get(part.name, shape.unit)),
            )
            for (owner, part), (shape, _) in self._shapes.items()
            if owner == group and part.kind == kind
        }


def _differences(what: str, shape: Shape, first: Shape, where: Path) -> Iterator[str]:
    if shape.width != first.width:
        yield f"{what}: {_numbers(shape.width)} at a point, and {_numbers(first.width)} in {where}"
    if shape.unit != first.unit:
        units = [unit or "no unit" for unit in (shape.unit, first.unit)]
        yield f"{what}: is in {units[0]}, and in {units[1]} in {where}"


def _numbers(count: int) -> str:
    return "1 number" if count == 1 else f"{count} numbers"


def as_points(values: Values, coordinates: int) -> Points:
    """Return what was read of a group as points of so many coordinates."""
    positions = values[Part("positions", "")]
    return Points(
        positions=positions[:, :coordinates],
        inputs={part.name: array for part, array in values.items() if part.kind == "inputs"},
        fields={part.name: array for part, array in values.items() if part.kind == "fields"},
    )


def read_groups(
    case: Case,
    groups: Mapping[str, PointsGroup],
    rows: Mapping[str, NDArray[np.int64]],
) -> dict[str, Values]:
    """Return what the files of a case have of some groups: some rows, or all of them.

    Raises:
        TaskError: If a file is no more what it was.
    """
    files = OpenFiles()
    values: dict[str, Values] = {}
    for name, group in groups.items():
        path = case.groups[name]
        try:
            reader = GroupReader(files.get(path), group)
            values[name] = reader.take(rows[name]) if name in rows else reader.all()
        except (FileFault, IndexError, KeyError) as error:
            faults = error.faults if isinstance(error, FileFault) else ("it has changed since",)
            raise TaskError("\n".join(told(path, faults))) from error
    return values
