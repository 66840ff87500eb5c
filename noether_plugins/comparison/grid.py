"""Which values ``--grid`` gives to which options, and in which combinations."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from noether_core import ConfigError, Problem
from noether_core.errors import path_text
from noether_core.structuring import paths
from noether_core.structuring.documents import parse
from noether_core.structuring.paths import DocumentPath

COMMAND_LINE: Final = paths.COMMAND_LINE
"""What stands for the file in problems of arguments."""

_ATTENTION = "attention"

_REMEDIES: Mapping[str, str] = {
    "attention_options": "vary attention.OPTION, which every type gets that has it",
    "seed": "write --seeds N",
}
"""What is said of a path that is no axis of a grid, by how it begins."""


@attrs.frozen
class Axis:
    """An option that varies."""

    keys: tuple[str | int, ...]
    """Its path in the experiment."""

    values: tuple[Any, ...]

    @property
    def path(self) -> str:
        """The same as it is written: ``attention.num_slices``."""
        return path_text(self.keys)

    @property
    def is_of_attention(self) -> bool:
        """Whether it is an option of attention, which not every type has."""
        return self.keys[0] == _ATTENTION

    @property
    def option(self) -> str:
        """Name of the option within the attention."""
        return str(self.keys[1])

    @property
    def label(self) -> str:
        """What names of rows call it."""
        return self.option if self.is_of_attention else self.path


def read_axes(texts: Sequence[str]) -> tuple[Axis, ...]:
    """Return the axes of ``PATH=VALUE,VALUE``; values are written as in YAML.

    Raises:
        ConfigError: If one is no such text, or its path is none that can be varied so.
    """
    axes: list[Axis] = []
    problems: list[Problem] = []
    for text in texts:
        try:
            axis = _read(text)
            _check_new(axis, axes)
            axes.append(axis)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return tuple(axes)


def _read(text: str) -> Axis:
    path, equals, values = text.partition("=")
    if not equals or not values.strip():
        raise _refused(
            f"--grid: expected PATH=VALUE,VALUE, got {text!r}", "such as attention.num_slices=16,64"
        )
    try:
        keys = DocumentPath(path).keys
    except ValueError as error:
        raise _refused(f"--grid: {error}") from None
    _check_path(keys)
    try:
        parsed = parse(f"[{values}]", "yaml", file=COMMAND_LINE).data
    except ConfigError as error:
        raise error.with_problems(
            attrs.evolve(problem.within(*keys), line=None, column=None, source=None)
            for problem in error.problems
        ) from None
    unlike: list[Any] = []
    for value in parsed:
        if not any(_is_same(value, other) for other in unlike):
            unlike.append(value)
    return Axis(keys, tuple(unlike))


def _check_path(keys: tuple[str | int, ...]) -> None:
    begin = str(keys[0])
    if begin in _REMEDIES:
        raise _refused("cannot be varied by --grid", _REMEDIES[begin], keys)
    if begin == _ATTENTION and len(keys) != 2:  # noqa: PLR2004  the attention, and an option of it
        raise _refused("--grid varies options of attention as a whole", None, keys)
    if keys == (_ATTENTION, "type"):
        raise _refused("cannot be varied by --grid", "name types with --types", keys)


def _check_new(axis: Axis, axes: Sequence[Axis]) -> None:
    if any(axis.keys == other.keys for other in axes):
        raise _refused("--grid names it twice", "write all values behind one =", axis.keys)


def _is_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)  # 1 and True are equal and not the same


def points(axes: Sequence[Axis]) -> Iterator[dict[str, Any]]:
    """Yield every combination of values, by path; the last axis varies fastest."""
    for values in itertools.product(*[axis.values for axis in axes]):
        yield {axis.path: value for axis, value in zip(axes, values, strict=True)}


def overrides_of(point: Mapping[str, Any]) -> list[str]:
    """Return the values of a combination as they are written on the command line."""
    return [f"{path}={json.dumps(value)}" for path, value in point.items()]


def label_of(axes: Sequence[Axis], point: Mapping[str, Any]) -> str:
    """Return what tells a combination from others: ``num_slices=16 model.depth=2``."""
    return " ".join(f"{axis.label}={_text(point[axis.path])}" for axis in axes)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _refused(
    message: str, suggestion: str | None = None, keys: tuple[str | int, ...] = ()
) -> ConfigError:
    problem = Problem(message=message, suggestion=suggestion, keys=keys, file=COMMAND_LINE)
    return ConfigError([problem])
