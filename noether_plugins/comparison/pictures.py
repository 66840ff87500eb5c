"""Pictures of a comparison: errors over time, error against cost, time and memory over tokens."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from noether_core.tasks import write_whole
from noether_plugins.comparison.curves import Curve, Curves
from noether_plugins.comparison.labels import Label, beside_lines, beside_points
from noether_plugins.comparison.record import Comparison, Row

_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#a06a00", "#3b3b3b", "#7b4fb0",
)  # fmt: skip
"""Okabe & Ito, Color Universal Design, 2008, for all kinds of sight; the yellow, which white paper
swallows, is a brown, and a violet is the eighth.
"""

_MARKERS = "osD^vP*XhH<>dp8"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))

_SIZE = 8.5
_CHARACTER = 0.6
"""Width of one, over the size of the font."""

_MOST_NAMES = 20
_LONGEST_NAME = 24
"""Of more rows, or longer names, the pictures have the numbers, and a key beside them."""

_KEY_COLUMN = 60
"""Characters of a name in a key; of a longer one the middle is left out."""

_INCHES = (12.0, 6.2)
_DOTS_PER_INCH = 150
_POINTS = 240
"""Of a curve."""

_SMOOTHED = 1 / 25
"""Share of the steps over which the loss of a batch, which is noisy, is averaged."""

_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "noether",  # names in the file are the same each time
    "font.size": _SIZE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.edgecolor": "#555555",
    "axes.labelcolor": "#222222",
}

FloatArray = NDArray[np.float64]


class _Look(NamedTuple):
    """How a row is drawn: no two rows have all of it in common."""

    name: str
    colour: str
    marker: str
    dashes: Any


def draw(comparison: Comparison, curves: Curves, folder: Path) -> list[Path]:
    """Draw the pictures of a comparison, each as PNG and as SVG; return the files.

    Equal comparisons give equal files. A picture for which nothing was measured says so.

    Args:
        comparison: The comparison, its rows ranked.
        curves: By row, the curves of its runs.
        folder: Where the files go: ``errors``, ``cost`` and ``scaling``, ``.png`` and ``.svg``.

    Raises:
        OSError: If they cannot be written.
    """
    looks = _looks([row.name for row in comparison.rows])
    files: list[Path] = []
    with mpl.rc_context(_STYLE):
        for name, drawn in (
            ("errors", _errors(comparison, curves, looks)),
            ("cost", _cost(comparison, looks)),
            ("scaling", _scaling(comparison, looks)),
        ):
            for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                content = io.BytesIO()
                drawn.savefig(content, format=suffix, dpi=_DOTS_PER_INCH, metadata=metadata)
                files.append(folder / f"{name}.{suffix}")
                write_whole(files[-1], content.getvalue())
    return files


def _looks(names: Sequence[str]) -> dict[str, _Look]:
    """Return how each row is drawn, and what it is called: its name, or its number in a key."""
    is_numbered = len(names) > _MOST_NAMES or max(map(len, names), default=0) > _LONGEST_NAME
    looks: dict[str, _Look] = {}
    for number, name in enumerate(names):
        colour = _COLOURS[number % len(_COLOURS)]
        dashes = _DASHES[number // len(_COLOURS) % len(_DASHES)]
        shown = str(number + 1) if is_numbered else name
        looks[name] = _Look(shown, colour, _MARKERS[number % len(_MARKERS)], dashes)
    return looks


def _figure(
    panels: int, title: str, looks: Mapping[str, _Look], names: Sequence[str] = ()
) -> tuple[Figure, list[Axes]]:
    """Return an empty figure, its panels side by side; right of each is room for names.

    Where rows are called by numbers, their key stands right of all.
    """
    key = [(look.name, name) for name, look in looks.items() if look.name != name]
    longest = max((len(_short(name)) + 5 for _, name in key), default=0)
    room = 0.2 + longest * _CHARACTER * _SIZE / 72 if key else 0.0
    whole = _INCHES[0] + room
    figure = Figure(figsize=(whole, _INCHES[1]), dpi=_DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.84 / whole, ha="left", fontsize=_SIZE + 3)
    beside = 0.25  # inches: for names, the line that leads to them, and the next panel's axis
    if names:
        beside = 0.5 + max(map(len, names)) * _CHARACTER * _SIZE / 72
    axis = 0.84
    width = max(1.0, (_INCHES[0] - panels * (axis + beside)) / panels)
    figure.subplots_adjust(
        left=axis / whole,
        right=1 - (beside + room) / whole,
        bottom=0.13,
        top=0.91,
        wspace=(axis + beside) / width,
    )
    line = min(0.026, 0.9 / max(1, len(key)))
    for place, (number, name) in enumerate(key):
        figure.text(
            1 - room / whole,
            0.94 - line * place,
            f"{number}  {_short(name)}",
            fontsize=min(_SIZE, line * _INCHES[1] * 72 / 1.2),
            color="#222222",
            va="top",
        )
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def _short(name: str) -> str:
    """Return a name, a long one without its middle."""
    if len(name) <= _KEY_COLUMN:
        return name
    half = _KEY_COLUMN // 2
    return f"{name[: half - 1]}…{name[-half:]}"


def _note(figure: Figure, text: str) -> None:
    figure.text(0.84 / figure.get_figwidth(), 0.02, text, fontsize=_SIZE - 0.5, color="#555555")


def _nothing(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color="#555555")
    axes.set(xticks=[], yticks=[])


# Errors over time


def _errors(comparison: Comparison, curves: Curves, looks: dict[str, _Look]) -> Figure:
    rows = [row for row in comparison.rows if curves.get(row.name)]
    validated = bool(rows) and all(
        curve.validation_losses for row in rows for curve in curves[row.name]
    )
    names = [looks[row.name].name for row in rows]
    what = "Loss on validation samples" if validated else "Loss on training batches"
    figure, (axes,) = _figure(1, f"{what} over the time of training", looks, names)
    if not rows:
        _nothing(axes, "no run has a log")
        return figure

    axes.set(xscale="log", yscale="log")
    axes.set_xlabel("seconds of training")
    axes.set_ylabel("sum over fields of the mean squared error, in units of their spread")
    labels: list[Label] = []
    for row in rows:
        seconds, low, middle, high = _band(curves[row.name], validated=validated)
        look = looks[row.name]
        axes.fill_between(seconds, low, high, color=look.colour, alpha=0.10, linewidth=0)
        axes.plot(
            seconds,
            middle,
            color=look.colour,
            linestyle=look.dashes,
            linewidth=1.4,
            marker=look.marker,
            markersize=4,
            markevery=[-1],
        )
        labels.append(Label(look.name, float(seconds[-1]), float(middle[-1]), look.colour))
    _plain_ticks(axes.xaxis, axes.get_xlim())
    _plain_ticks(axes.yaxis, axes.get_ylim())
    beside_lines(axes, labels, size=_SIZE)
    seeds = max(len(curves[row.name]) for row in rows)
    smoothed = "" if validated else "; each averaged over a twenty-fifth of its steps"
    _note(figure, f"Median over {seeds} seeds, with the range of all of them{smoothed}.")
    return figure


def _band(
    runs: Sequence[Curve], *, validated: bool
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return seconds, and the least, the median and the greatest loss of the runs of a row."""
    lines = [_line(run, validated=validated) for run in runs]
    start = max(seconds[0] for seconds, _ in lines)
    end = max(start, min(seconds[-1] for seconds, _ in lines))
    grid = np.geomspace(start, end, _POINTS if end > start else 1)
    values = np.array([np.interp(grid, seconds, losses) for seconds, losses in lines])
    return grid, values.min(axis=0), np.median(values, axis=0), values.max(axis=0)


def _line(run: Curve, *, validated: bool) -> tuple[FloatArray, FloatArray]:
    """Return seconds and losses of a run, those of batches smoothed; none of them is 0."""
    if validated:
        seconds, losses = np.array(run.validation_seconds), np.array(run.validation_losses)
    else:
        seconds, losses = np.array(run.seconds), np.array(run.losses)
        width = max(1, round(len(losses) * _SMOOTHED))
        kernel = np.ones(width) / width
        losses = np.convolve(losses, kernel, mode="valid")
        seconds = np.convolve(seconds, kernel, mode="valid")
    return np.maximum(seconds, 1e-3), np.maximum(losses, 1e-12)


# Error against cost


def _cost(comparison: Comparison, looks: dict[str, _Look]) -> Figure:
    figure, (time, memory) = _figure(2, "Error against cost", looks)
    scored = [row for row in comparison.rows if row.score is not None]
    _panel(time, scored, looks, "milliseconds of a training step", _milliseconds)
    _panel(memory, scored, looks, "MiB that a step holds beyond the parameters", _mebibytes)
    time.set_ylabel("error over that of predicting the mean, over fields and seeds")
    memory.set_ylabel("")
    missing = [row.name for row in scored if _milliseconds(row) is None]
    note = "Lower and further left is better. Lines: 95 % interval of the error over seeds"
    note += ", and quartiles of the time."
    if missing:
        note += f" Not timed: {', '.join(missing)}."
    _note(figure, note)
    return figure


def _milliseconds(row: Row) -> float | None:
    """Return the time of a step; None where it was not measured, or the machine was busy."""
    if row.step is not None and not row.step.samples:
        return None
    return None if row.seconds_per_step is None else 1e3 * row.seconds_per_step


def _mebibytes(row: Row) -> float | None:
    return None if row.step_memory_bytes is None else row.step_memory_bytes / 2**20


def _panel(
    axes: Axes,
    rows: Iterable[Row],
    looks: dict[str, _Look],
    what: str,
    cost: Callable[[Row], float | None],
) -> None:
    """Draw the error of rows over one of their costs."""
    labels: list[Label] = []
    for row in rows:
        x, y, look = cost(row), row.score, looks[row.name]
        if x is None or y is None or x <= 0:
            continue
        if row.interval is not None:
            low, high = row.interval
            axes.plot([x, x], [low, high], color=look.colour, linewidth=1, alpha=0.6)
        if cost is _milliseconds and row.step is not None and row.step.lower is not None:
            quartiles = [1e3 * row.step.lower, 1e3 * (row.step.upper or 0)]
            axes.plot(quartiles, [y, y], color=look.colour, linewidth=1, alpha=0.6)
        axes.plot([x], [y], color=look.colour, marker=look.marker, markersize=7, linestyle="none")
        labels.append(Label(look.name, x, y, look.colour))
    axes.set_xlabel(what)
    if not labels:
        _nothing(axes, "not measured")
        return
    axes.set_xscale("log")
    _plain_ticks(axes.xaxis, [label.x for label in labels])
    axes.margins(x=0.15, y=0.08)
    axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))
    beside_points(axes, labels, size=_SIZE)


def _plain_ticks(axis: Axis, values: Sequence[float]) -> None:
    """Write numbers of an axis as they are spoken where it spans less than two decades."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    decades = math.log10(max(values) / min(values))
    if decades > 2:  # noqa: PLR2004  powers of ten will do
        return
    subs = (1.0, 2.0, 5.0) if decades > 0.5 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)  # noqa: PLR2004  as many as there is room for
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_formatter(NullFormatter())


# Time and memory over tokens


def _scaling(comparison: Comparison, looks: dict[str, _Look]) -> Figure:
    rows = [row for row in comparison.rows if row.scaling is not None and row.scaling.tokens]
    names = [f"{looks[row.name].name}  0.00" for row in rows]
    figure, (time, memory) = _figure(2, "Cost over the number of tokens", looks, names)
    _growth(time, rows, looks, is_time=True)
    _growth(memory, rows, looks, is_time=False)
    time.set_ylabel("seconds of forward and backward")
    memory.set_ylabel("MiB that they hold beyond the parameters")
    _note(
        figure,
        "One sample of random points. Behind each name the exponent p of tokens^p, fitted to the "
        "upper half of the sizes.",
    )
    return figure


def _growth(axes: Axes, rows: Sequence[Row], looks: dict[str, _Look], *, is_time: bool) -> None:
    """Draw time or memory of rows over their tokens."""
    axes.set_xlabel("tokens")
    if not rows:
        _nothing(axes, "not measured")
        return
    axes.set(xscale="log", yscale="log")
    labels: list[Label] = []
    for row in rows:
        scaling, look = row.scaling, looks[row.name]
        if scaling is None:
            continue
        values = scaling.seconds if is_time else [each / 2**20 for each in scaling.bytes]
        known = [(size, each) for size, each in zip(scaling.tokens, values, strict=True) if each]
        if not known:
            continue
        axes.plot(
            *zip(*known, strict=True),
            color=look.colour,
            linestyle=look.dashes,
            linewidth=1.3,
            marker=look.marker,
            markersize=4,
        )
        exponent = scaling.time_exponent if is_time else scaling.memory_exponent
        name = look.name
        text = name if exponent is None else f"{name}  {exponent:.2f}"
        labels.append(Label(text, *known[-1], look.colour))
    if not labels:
        axes.set(xscale="linear", yscale="linear")
        _nothing(axes, "not measured: the machine was busy with something else")
    beside_lines(axes, labels, size=_SIZE)
