"""Which cases there are: files that patterns match, the other files of each, and the split."""

from __future__ import annotations

import collections
import glob
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import attrs
import numpy as np

from noether_plugins.tasks.points.config import STEM, PointsConfig, PointsGroup, listed


@attrs.frozen
class Case:
    """One case: its name, and the files that have it."""

    name: str
    """The stem of its file; with as many folders before it as make it unlike all others."""

    file: Path

    groups: Mapping[str, Path]
    """The file of each group, which may be that of the case."""

    @property
    def keys(self) -> tuple[str, ...]:
        """What a table of parameters may call it, the likeliest first."""
        return (self.name, self.file.stem, self.file.name, self.file.parent.name)


@attrs.frozen
class Split:
    """All cases, those to learn from and those held out, and what is wrong with them."""

    train: Sequence[Case]
    test: Sequence[Case]
    problems: Sequence[str]


def case_of(file: Path, groups: Mapping[str, PointsGroup], name: str | None = None) -> Case:
    """Return the case in a file, whose other files need not be there."""
    return Case(
        name=file.stem if name is None else name,
        file=file,
        groups={group: _partner(file, option.file) for group, option in groups.items()},
    )


def _partner(file: Path, template: str | None) -> Path:
    if template is None:
        return file
    return file.parent / template.replace(STEM, file.stem)


def split_cases(config: PointsConfig, seed: int) -> Split:
    """Find the files of all cases, and say which are held out."""
    problems: list[str] = []
    train = _matched("train", listed(config.train), config.groups, problems)
    test = _matched("test", listed(config.test), config.groups, problems)
    problems += _overlaps(train, test)

    names = _names([*train, *test], problems)
    cases = {file: case_of(file, config.groups, names[file]) for file in (*train, *test)}
    learnt = [cases[file] for file in train]
    if config.hold_out is None:
        return Split(learnt, [cases[file] for file in test], problems)

    if len(learnt) == 1:
        problems.append(f"{train[0]}: is the only file of train, and hold_out needs two")
    held = _held_out(len(learnt), config.hold_out, seed)
    return Split(
        [case for number, case in enumerate(learnt) if number not in held],
        [case for number, case in enumerate(learnt) if number in held],
        problems,
    )


def _held_out(count: int, share: float, seed: int) -> frozenset[int]:
    """Return which of so many cases are held out: at least one, and not all."""
    wanted = min(max(1, round(share * count)), max(0, count - 1))
    order = np.random.default_rng(seed).permutation(count)
    return frozenset(order[:wanted].tolist())


def _matched(
    option: str,
    patterns: Sequence[str],
    groups: Mapping[str, PointsGroup],
    problems: list[str],
) -> list[Path]:
    """Return the files that patterns match, in order, those left out that belong to another."""
    files: dict[Path, None] = {}
    for pattern in patterns:
        found = _found(pattern)
        if not found:
            problems.append(f"{option}: {pattern}: matches no file")
        if found == [Path(pattern)] and found[0].is_dir():
            problems.append(f"{option}: {pattern}: is a folder; write a pattern, {pattern}/*.vtu")
            continue
        files |= dict.fromkeys(file for file in found if not file.is_dir())

    partners = {
        partner
        for file in files
        for partner in case_of(file, groups).groups.values()
        if partner != file
    }
    return [file for file in files if file not in partners]


def _found(pattern: str) -> list[Path]:
    # pathlib's own globs take no absolute patterns
    return sorted(map(Path, glob.glob(str(Path(pattern).expanduser()), recursive=True)))  # noqa: PTH207


def _overlaps(train: Iterable[Path], test: Iterable[Path]) -> list[str]:
    learnt = {file.resolve() for file in train}
    return [
        f"{file}: is a file of test and of train as well"
        for file in test
        if file.resolve() in learnt
    ]


def _names(files: Iterable[Path], problems: list[str]) -> dict[Path, str]:
    """Return a name for each file: its stem, with folders before it where stems repeat."""
    unique = dict.fromkeys(files)
    deepest = max((len(file.parts) for file in unique), default=1)
    for depth in range(1, deepest + 1):
        names = {file: _tail(file, depth) for file in unique}
        if len(set(names.values())) == len(names):
            return names

    by_name = collections.defaultdict(list)
    for file, name in names.items() if unique else ():
        by_name[name].append(file)
    for first, *others in by_name.values():
        problems += [
            f"{file}: has the same stem as {first}, and one of them cannot be told from the other"
            for file in others
        ]
    return names if unique else {}


def _tail(file: Path, depth: int) -> str:
    return "/".join((*file.parts[-depth:-1], file.stem))
