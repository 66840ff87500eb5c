"""The losses of a run over its steps and over time, thinned to what a screen can show."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

_MOST_STEPS = 600
"""Steps of a curve that are kept; of more, some that are spread evenly, the last among them."""

_DIGITS = 5

T = TypeVar("T")


class Line(NamedTuple):
    """Losses, and when they were so."""

    steps: list[int]
    seconds: list[float | None]
    losses: list[float | None]


class Curve(NamedTuple):
    """What the log of a run says."""

    steps_in_all: int
    """Steps of the log; a line may have fewer."""

    loss: Line
    validation: Line
    """Where there was validation; else its lists are empty."""


class _Step(NamedTuple):
    step: int
    seconds: float | None
    loss: float | None
    validation: float | None


def read_curve(folder: Path) -> Curve | None:
    """Return what ``log.csv`` in a folder says; None where there is none, or none that is a log."""
    try:
        with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
            steps = [step for row in csv.DictReader(file) if (step := _step(row)) is not None]
    except (OSError, ValueError, csv.Error):
        return None
    if not steps:
        return None
    validated = [step for step in steps if step.validation is not None]
    return Curve(
        steps_in_all=len(steps),
        loss=_line(steps, [step.loss for step in steps]),
        validation=_line(validated, [step.validation for step in validated]),
    )


def _step(row: dict[str, str | None]) -> _Step | None:
    number = _number(row.get("step"))
    if number is None or number < 0:
        return None
    return _Step(
        int(number),
        _number(row.get("seconds")),
        _number(row.get("loss")),
        _number(row.get("validation_loss")),
    )


def _number(text: str | None) -> float | None:
    """Return a finite number with as many digits as can be seen; None for anything else."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def _line(steps: Sequence[_Step], losses: Sequence[float | None]) -> Line:
    return Line(
        steps=_thinned([each.step for each in steps]),
        seconds=_thinned([each.seconds for each in steps]),
        losses=_thinned(losses),
    )


def _thinned(values: Sequence[T]) -> list[T]:
    if len(values) <= _MOST_STEPS:
        return list(values)
    last = len(values) - 1
    return [values[round(number * last / (_MOST_STEPS - 1))] for number in range(_MOST_STEPS)]
