"""Losses of runs over seconds, from the ``log.csv`` of each."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import attrs

from noether_plugins.comparison.record import Comparison

_LOG = "log.csv"


@attrs.frozen(kw_only=True)
class Curve:
    """What the log of a run says, step by step."""

    seconds: tuple[float, ...]
    """Since the training began."""

    losses: tuple[float, ...]
    """On the batch of the step, before its update."""

    validation_seconds: tuple[float, ...] = ()
    """When the loss on samples that are kept aside was computed."""

    validation_losses: tuple[float, ...] = ()
    """That loss."""


Curves = Mapping[str, Sequence[Curve]]
"""By row, the curve of each of its runs."""


def read_curves(comparison: Comparison, folder: Path) -> dict[str, list[Curve]]:
    """Return the curves of all runs of a comparison that have a log.

    Args:
        comparison: The comparison.
        folder: Where it is.
    """
    curves: dict[str, list[Curve]] = {}
    for row in comparison.rows:
        own = (read_curve(folder / run / _LOG) for run in row.runs)
        curves[row.name] = [curve for curve in own if curve is not None]
    return curves


def read_curve(file: Path) -> Curve | None:
    """Return what a log says; None where there is no line of it, or no log."""
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            return _curve(csv.DictReader(lines))
    except (OSError, ValueError):
        return None


def _curve(lines: Iterable[Mapping[str, str | None]]) -> Curve | None:
    seconds: list[float] = []
    losses: list[float] = []
    validations: list[tuple[float, float]] = []
    for line in lines:
        loss, now = _number(line.get("loss")), _number(line.get("seconds"))
        if loss is None or now is None:  # a line that is not whole
            continue
        seconds.append(now)
        losses.append(loss)
        validation = _number(line.get("validation_loss"))
        if validation is not None:
            validations.append((now, validation))
    if not seconds:
        return None
    return Curve(
        seconds=tuple(seconds),
        losses=tuple(losses),
        validation_seconds=tuple(now for now, _ in validations),
        validation_losses=tuple(loss for _, loss in validations),
    )


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
