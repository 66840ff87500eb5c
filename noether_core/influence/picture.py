"""Pictures of influence: a matrix of tokens by tokens, or those of several variants together."""

from __future__ import annotations

import io
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from noether_core.atomic_writes import write_whole
from noether_core.errors import MissingExtraError
from noether_core.quoting import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, LogNorm
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from noether_core.influence.measuring import Influence
    from noether_core.schemas.modules.attention import AttentionPattern

SUFFIXES: Final = (".svg", ".png")

_RANGE = 1e-3
"""Of the largest share: what is less has the colour of this."""

_LEAST_RANGE = 10
"""How many times the smallest share of a scale the largest is at least: attention that is all but
even is not to look as if it were not.
"""

_COMMON_RANGE = (1e-3, 0.5)
"""Shares from the first colour to the last where several pictures have one scale."""

_REPEATABLE: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "influence",
    "text.parse_math": False,  # names of groups may hold dollars
}
_DOTS_PER_INCH = 200
_DOTS_OF_CELL = 6

_LONGEST_LINE = 78
_MOST_OPTIONS = 400
_COLUMNS = 4
_TICKS = 6
_PANEL = 1.9
_EDGES = "black"

_SHADES = 20
"""Colours of a scale: more are not told apart, and fewer make small files."""

ROW, COLUMN = "token that attends (query)", "token attended to (key)"
ZERO = "exactly zero: no influence"
SHARE = "share of the influence on a result\n(rows sum to 100 %)"


class Scale(NamedTuple):
    """The shares that have the first colour and the last."""

    least: float
    most: float


def scale_of(found: Influence) -> Scale:
    """Return a logarithmic scale on which the shares of a matrix can be told apart."""
    shares = found.shares[~found.is_zero]
    if not shares.numel():
        return Scale(*_COMMON_RANGE)
    most = float(shares.max())
    least = max(float(shares.min()), _RANGE * most)
    missing = _LEAST_RANGE / (most / least)
    if missing > 1:  # in the middle of a scale that is wide enough
        most, least = most * math.sqrt(missing), least / math.sqrt(missing)
    return Scale(least, most)


def draw(found: Influence, file: str | os.PathLike[str]) -> None:
    """Draw a matrix of influence into a file, whole or not at all.

    Rows are the tokens that attend, columns those attended to; the colour is the share of a row, on
    a logarithmic scale, and white is exactly zero. The same matrix makes the same SVG.

    Args:
        found: What `influence` returned.
        file: Where the picture goes, ``.svg`` or ``.png``; an older one is replaced.

    Raises:
        ValueError: If the suffix is another.
        MissingExtraError: If matplotlib is not installed.
        OSError: If the file cannot be written.
    """
    kind = kind_of(file)
    _check_installed()
    from matplotlib import style
    from matplotlib.figure import Figure

    rows, columns = found.norms.shape
    width = 5.9
    height = 1.95 + (width - 2.2) * rows / max(columns, 1)
    with style.context(["default", _REPEATABLE]):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots()
        image = _fill(axes, found, scale_of(found))
        _mark_groups(axes, found)
        axes.set_xlabel(COLUMN)
        axes.set_ylabel(ROW)
        _add_scale(figure, axes, image, found)
        figure.suptitle(f"{visible(found.type)}: which tokens attend to which", fontsize="medium")
        axes.set_title(caption(found), fontsize="x-small", color="0.25")
        _save(figure, file, kind)


def draw_together(found: Sequence[Influence], file: str | os.PathLike[str], title: str) -> None:
    """Draw several matrices into one file, all on one scale.

    Args:
        found: What `influence` returned, for each.
        file: As for `draw`.
        title: What stands above.

    Raises:
        ValueError: If there is no matrix, or the suffix is another.
        MissingExtraError: If matplotlib is not installed.
        OSError: If the file cannot be written.
    """
    kind = kind_of(file)
    if not found:
        raise ValueError("there is nothing to draw")
    _check_installed()
    from matplotlib import style
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(found))
    lines = -(-len(found) // columns)
    with style.context(["default", _REPEATABLE]):
        size = (columns * _PANEL + 1.2, lines * (_PANEL + 0.3) + 0.8)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False)
        for panel in panels.flat[len(found) :]:
            panel.set_axis_off()
        for panel, one in zip(panels.flat, found, strict=False):
            image = _fill(panel, one, Scale(*_COMMON_RANGE))
            panel.set_xticks([])
            panel.set_yticks([])
            _draw_edges(panel, one)
            panel.set_title(visible(one.type), fontsize="small", family="monospace")
        figure.supxlabel(f"{COLUMN}; white: {ZERO}", fontsize="small")
        figure.supylabel(ROW, fontsize="small")
        figure.suptitle(title, fontsize="medium")
        _add_bar(figure, [*panels.flat], image, "both", shrink=0.5)
        _save(figure, file, kind)


def kind_of(file: str | os.PathLike[str]) -> str:
    """Return the format of a picture by its suffix.

    Raises:
        ValueError: If there is none that can be drawn.
    """
    suffix = os.path.splitext(os.fspath(file))[1].lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"{os.fspath(file)}: the suffix names no format of pictures; use .svg or .png"
        )
    return suffix[1:]


def _check_installed() -> None:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise MissingExtraError("drawing a picture", "matplotlib", "run")


def caption(found: Influence, width: int = _LONGEST_LINE) -> str:
    """Return what was drawn, in a few lines: options, patterns, provider and seed."""
    options = ", ".join(f"{name}={_value(value)}" for name, value in found.options.items())
    weights = "weights of its own" if found.has_own_weights else "initial weights"
    facts = [visible(options), f"{visible(found.provider)}; {weights}, seed {found.seed}"]
    if found.patterns:
        facts.insert(1, "; ".join(map(_pattern, found.patterns)))
    if found.interface != "cross":
        facts.append("diagonal: a token acts on its own result through its query as well")
    lines: list[str] = []
    for fact in facts:
        short = textwrap.shorten(fact, _MOST_OPTIONS, placeholder=" ...")
        lines += textwrap.wrap(short, width)
    return "\n".join(lines)


def _pattern(pattern: AttentionPattern) -> str:
    queries, keys = (", ".join(names) for names in (pattern.query_tokens, pattern.key_value_tokens))
    return visible(f"{queries} attends to {keys}")


def _value(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _fill(axes: Axes, found: Influence, scale: Scale) -> AxesImage:
    """Draw the matrix into *axes*."""
    import numpy as np
    from matplotlib.colors import LogNorm

    rows, columns = found.norms.shape
    shares = np.ma.masked_array(found.shares.numpy(), mask=found.is_zero.numpy())
    # An SVG gets these dots as they are, which are few and alike; its viewer may blur their edges.
    dots = shares.repeat(_DOTS_OF_CELL, axis=0).repeat(_DOTS_OF_CELL, axis=1)
    norm: LogNorm = LogNorm(*scale, clip=True)
    axes.set_facecolor("white")
    return axes.imshow(
        dots,
        cmap=_colours(),
        norm=norm,
        interpolation="none",
        extent=(-0.5, columns - 0.5, rows - 0.5, -0.5),
    )


def _colours() -> Colormap:
    """Return colours that grow evenly darker, also in grey and to those who see few colours."""
    import matplotlib as mpl

    return mpl.colormaps["viridis_r"].resampled(_SHADES).with_extremes(bad="white")


def _mark_groups(axes: Axes, found: Influence) -> None:
    """Name each group along both axes, with lines where one ends; number tokens of one group."""
    _draw_edges(axes, found)
    for groups, axis in ((found.keys, axes.xaxis), (found.queries, axes.yaxis)):
        if len(groups) > 1:
            axis.set_ticks(_centres(groups), [visible(name) for name in groups])
            axis.set_tick_params(length=0)
        axis.set_tick_params(labelsize="small")
    if len(found.keys) > 1:
        for label in axes.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")


def _draw_edges(axes: Axes, found: Influence) -> None:
    for edge in _edges(found.keys):
        axes.axvline(edge, color=_EDGES, linewidth=0.7)
    for edge in _edges(found.queries):
        axes.axhline(edge, color=_EDGES, linewidth=0.7)


def _edges(groups: Mapping[str, int]) -> list[float]:
    """Return where one group ends and another begins."""
    edges: list[float] = []
    stop = -0.5
    for size in groups.values():
        stop += size
        edges.append(stop)
    return edges[:-1]


def _centres(groups: Mapping[str, int]) -> list[float]:
    centres: list[float] = []
    start = -0.5
    for size in groups.values():
        centres.append(start + size / 2)
        start += size
    return centres


def _add_scale(figure: Figure, axes: Axes, image: AxesImage, found: Influence) -> None:
    """Add the colours' scale, and what white is where there is any."""
    from matplotlib.patches import Patch

    shares = found.shares[~found.is_zero]
    is_cut = bool(shares.numel()) and float(shares.min()) < scale_of(found).least
    _add_bar(figure, [axes], image, "min" if is_cut else "neither")
    if bool(found.is_zero.any()):
        patch = Patch(facecolor="white", edgecolor="0.3", label=ZERO)
        figure.legend(handles=[patch], loc="outside lower center", frameon=False, fontsize="small")


def _add_bar(
    figure: Figure, axes: Sequence[Axes], image: AxesImage, extend: str, shrink: float = 0.85
) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    bar = figure.colorbar(image, ax=axes, shrink=shrink, aspect=30, pad=0.02, extend=extend)
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=_TICKS * 2))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.ax.tick_params(labelsize="small")
    bar.set_label(SHARE, fontsize="small")
    if bar.solids is not None:
        bar.solids.set_rasterized(True)  # 256 paths would be most of an SVG


def _save(figure: Figure, file: str | os.PathLike[str], kind: str) -> None:
    content = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    figure.savefig(content, format=kind, dpi=_DOTS_PER_INCH, metadata=metadata)
    write_whole(file, content.getvalue())
