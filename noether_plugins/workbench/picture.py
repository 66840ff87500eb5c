"""What the picture of a run shows where its task draws none: fields of a held-out sample."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import CenteredNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from noether_core.tasks import Fields, Layout, Sample

_MOST_ROWS = 8
"""Fields that a picture shows; of more, the first."""

_MOST_POINTS = 20_000
"""Points of a group that are drawn; of more, some that are spread evenly over their order."""

_COLUMN_INCHES, _ROW_INCHES = 4.2, 3.2
_DOTS_PER_INCH = 130

# From where points in space are looked at: right and forwards are seen askew, up is up.
_RIGHT = np.array([0.8, -0.6, 0.0])
_UP = np.array([0.3, 0.4, 0.866])
_TOWARDS_VIEWER = np.cross(_RIGHT, _UP)

FloatArray = NDArray[np.float64]


class _Row(NamedTuple):
    """One field at the points that are drawn; of a vector its length."""

    label: str
    positions: FloatArray
    true: FloatArray
    predicted: FloatArray
    difference: FloatArray
    is_signed: bool


def draw(sample: Sample, layout: Layout, predicted: Fields, *, title: str) -> bytes:
    """Return a PNG picture of a sample: each of its fields, true, predicted and their difference.

    Points on a line are drawn as curves, those in the plane as they lie, and those in space as seen
    from a corner, the nearer before the farther.

    Args:
        sample: The sample, with its true fields.
        layout: What it is made of.
        predicted: What a model predicts for it.
        title: What stands above.
    """
    rows = _rows(sample, layout, predicted)
    size = (3 * _COLUMN_INCHES, max(1, len(rows)) * _ROW_INCHES + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(f"{title}: {sample.name}")
    if rows:
        grid = figure.subplots(len(rows), 3, squeeze=False)
        for axes, row in zip(grid, rows, strict=True):
            _draw_row(figure, axes, row)

    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DOTS_PER_INCH)
    return content.getvalue()


def _rows(sample: Sample, layout: Layout, predicted: Fields) -> list[_Row]:
    rows: list[_Row] = []
    for group, own in layout.groups.items():
        points = sample.groups[group]
        if not len(points):
            continue
        every = -(-len(points) // _MOST_POINTS)
        positions = _doubles(points.positions[::every])
        for name, field in own.fields.items():
            true = _doubles(points.fields[name][::every])
            guess = _doubles(predicted[group][name][::every])
            label = f"{group}.{name}"
            if field.label:
                label += f" ({field.label})"
            if field.unit:
                label += f" [{field.unit}]"
            row = _Row(
                label=label,
                positions=positions,
                true=_scalar(true),
                predicted=_scalar(guess),
                difference=_scalar(guess - true),
                is_signed=field.width == 1,
            )
            rows.append(row)
    return rows[:_MOST_ROWS]


def _doubles(values: NDArray[Any]) -> FloatArray:
    return np.asarray(values, dtype=np.float64)


def _scalar(values: FloatArray) -> FloatArray:
    """Return numbers as they are, and the lengths of vectors."""
    if values.shape[1] == 1:
        return values[:, 0]
    lengths: FloatArray = np.linalg.norm(values, axis=1)
    return lengths


def _draw_row(figure: Figure, axes: NDArray[Any], row: _Row) -> None:
    names = ("true", "predicted", "difference")
    values = (row.true, row.predicted, row.difference)
    for one, name in zip(axes, names, strict=True):
        one.set_title(f"{row.label}, {name}" if row.is_signed else f"|{row.label}|, {name}")
    if row.positions.shape[1] == 1:
        _draw_curves(axes, row.positions[:, 0], values)
        return

    drawn, order = _in_plane(row.positions)
    scale = Normalize(*_range(row.true, row.predicted))
    for one, numbers in zip(axes[:2], values[:2], strict=True):
        image = _draw_points(one, drawn, numbers[order], scale, "viridis")
    figure.colorbar(image, ax=[*axes[:2]], shrink=0.8)
    if row.is_signed:
        largest = max(float(np.abs(row.difference).max()), np.finfo(float).tiny)
        away = _draw_points(axes[2], drawn, row.difference[order], CenteredNorm(0, largest), "RdBu")
    else:
        away = _draw_points(axes[2], drawn, row.difference[order], Normalize(vmin=0), "magma")
    figure.colorbar(away, ax=axes[2], shrink=0.8)


def _draw_curves(axes: NDArray[Any], places: FloatArray, values: tuple[FloatArray, ...]) -> None:
    order = np.argsort(places)
    axes[1].plot(places[order], values[0][order], color="silver", linewidth=2)  # the truth behind
    for one, numbers in zip(axes, values, strict=True):
        one.plot(places[order], numbers[order], ".-", markersize=3, linewidth=0.8)


def _in_plane(positions: FloatArray) -> tuple[FloatArray, NDArray[np.intp]]:
    """Return where points are drawn, ``(points, 2)``, and their order: the farthest first."""
    if positions.shape[1] == 2:  # noqa: PLR2004  already in a plane
        return positions, np.arange(len(positions))
    order = np.argsort(positions @ _TOWARDS_VIEWER)
    return positions[order] @ np.stack([_RIGHT, _UP], axis=1), order


def _range(true: FloatArray, predicted: FloatArray) -> tuple[float, float]:
    """Return the range of almost all true values: a few at a corner must not take all colours.

    What is constant has the range of what is predicted.
    """
    shown = true if true.min() < true.max() else np.concatenate([true, predicted])
    low, high = np.quantile(shown, (0.002, 0.998))
    return float(low), float(high)


def _draw_points(
    axes: Axes, places: FloatArray, values: FloatArray, scale: Normalize, colours: str
) -> PathCollection:
    size = float(np.clip(16_000 / len(places), 2, 30))
    across, up = places.T
    image = axes.scatter(
        across, up, c=values, s=size, norm=scale, cmap=colours, linewidths=0, rasterized=True
    )
    axes.set_aspect("equal")
    axes.set(xticks=[], yticks=[])
    return image
