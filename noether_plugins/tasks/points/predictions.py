"""Cases to predict, read by what a model was trained on, and predictions written beside them."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether_core.tasks import Fields, Layout, Sample, TaskError
from noether_plugins.tasks.points.cases import Case, case_of
from noether_plugins.tasks.points.config import PointsConfig, PointsGroup, named
from noether_plugins.tasks.points.contents import Contents, GroupReader, Values, examine
from noether_plugins.tasks.points.dataset import OpenFiles, as_points, refuse, told
from noether_plugins.tasks.points.formats.source import Addition, FileFault, Place
from noether_plugins.tasks.points.parameters import Parameters

_PREFIX = "predicted_"
_ALL_BYTES = 1 << 62
_PLANE, _SPACE = 2, 3


def read(config: PointsConfig, file: Path, layout: Layout) -> Sample:
    """Return the case in a file; see `PointsTask.read`."""
    case = case_of(file, config.groups)
    files = OpenFiles()
    problems: list[str] = []
    values: dict[str, Values] = {}
    for name, group in config.groups.items():
        path = case.groups[name]
        try:
            found = _known_of(GroupReader(files.get(path), group))
        except FileFault as fault:
            problems += told(path, fault.faults)
            continue
        faults = [*found.problems, *_misfits(found, name, layout)]
        problems += told(path, [f"{name}.{text}" for text in faults])
        values[name] = found.values or {}
    inputs = _inputs(config, case, files, layout, problems)
    refuse(problems)
    return Sample(
        name=case.name,
        groups={name: as_points(found, layout.coordinates) for name, found in values.items()},
        inputs=inputs,
    )


def _known_of(reader: GroupReader) -> Contents:
    """Return what a file has of a group, fields as far as the truth is there."""
    reader.without([part for part in reader.missing() if part.kind == "fields"])
    found = examine(reader, most_bytes=_ALL_BYTES)
    # an array of nothing but NaN holds a place for what is to be predicted
    hollow = [part for part in found.hollow if part.kind == "fields"]
    if not hollow:
        return found
    reader.without(hollow)
    return examine(reader, most_bytes=_ALL_BYTES)


def _misfits(found: Contents, group: str, layout: Layout) -> Iterator[str]:
    """Yield in what a group is unlike those that the model was trained on."""
    wanted = layout.groups[group]
    for part, shape in found.shapes.items():
        if part.kind != "positions":
            width = getattr(wanted, part.kind)[part.name].width
            if shape.width != width:
                yield f"{part}: has the width {shape.width}, and the model knows {width}"
        elif (shape.width, layout.coordinates) == (_SPACE, _PLANE):
            if len(found.heights) > 1:
                yield "positions: lie in space, and the model knows points of one z"
        elif shape.width != layout.coordinates:
            yield (
                f"positions: have {shape.width} coordinates, and the model knows "
                f"{layout.coordinates}"
            )


def _inputs(
    config: PointsConfig, case: Case, files: OpenFiles, layout: Layout, problems: list[str]
) -> Mapping[str, NDArray[Any]]:
    """Return what is known of a case as a whole, and add what is wrong with it to *problems*."""
    try:
        inputs = Parameters(config).of(case, files.opened(case.file))
    except FileFault as fault:
        problems += fault.faults
        return {}
    for name, value in inputs.items():
        width = layout.inputs[name].width
        if len(value) != width:
            problems.append(
                f"{case.file}: {name!r} has the width {len(value)}, and the model knows {width}"
            )
    return inputs


def write(config: PointsConfig, file: Path, predicted: Fields, folder: Path) -> tuple[Path, ...]:
    """Write predicted fields beside what the files of a case hold; see `PointsTask.write`."""
    case = case_of(file, config.groups)
    additions: dict[Path, list[Addition]] = collections.defaultdict(list)
    for group, fields in predicted.items():
        additions[case.groups[group]] += _additions(config.groups[group], fields)
    additions = {path: found for path, found in additions.items() if found}
    targets = _targets(case, additions, folder)

    files = OpenFiles()
    with TemporaryDirectory(prefix=".", dir=folder) as stage:
        for path, target in targets.items():
            try:
                files.get(path).write(str(Path(stage) / target.name), additions[path])
            except FileFault as fault:
                raise TaskError("\n".join(told(path, fault.faults))) from fault
        # some formats keep numbers in a file beside their own, which must be there before it
        names = {target.name for target in targets.values()}
        others = sorted(path.name for path in Path(stage).iterdir() if path.name not in names)
        written = [*(folder / name for name in others), *reversed(targets.values())]
        for path in written:
            (Path(stage) / path.name).replace(path)
    return tuple(reversed(written))


def _additions(group: PointsGroup, fields: Mapping[str, NDArray[Any]]) -> Iterator[Addition]:
    """Yield the arrays that hold predicted fields as the true ones are held."""
    place: Place = "cells" if group.positions == "cells" else "points"
    for name, values in fields.items():
        sources = named(group.fields)[name]
        numbers = np.asarray(values, dtype=np.float32)
        if len(sources) == 1 and numbers.shape[1] > 1:
            yield Addition(place, _PREFIX + sources[0], numbers)
        elif len(sources) == numbers.shape[1]:
            for column, source in enumerate(sources):
                yield Addition(place, _PREFIX + source, numbers[:, column])
        else:  # of vectors side by side, each of whose width is not known
            yield Addition(place, _PREFIX + name, numbers)


def _targets(
    case: Case, additions: Mapping[Path, list[Addition]], folder: Path
) -> dict[Path, Path]:
    """Return where the copy of each file goes, that of the case itself first.

    Raises:
        TaskError: If a copy would take the place of what it is a copy of.
    """
    targets: dict[Path, Path] = {}
    for path in sorted(additions, key=lambda path: path != case.file):
        name = path.name
        if name in {target.name for target in targets.values()}:
            name = f"{path.parent.name}_{name}"  # of the same name, and from another folder
        targets[path] = folder / name
        if targets[path].resolve() == path.resolve():
            raise TaskError(
                f"{path}: the prediction would take its place; give another folder than {folder}"
            )
    return targets
