"""Time and memory over the number of tokens, a picture for each family of variants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from tests.benchmarks.results import Curve, Result
from tests.benchmarks.tables import amount

_PANEL = (3.6, 3.4)
"""Inches of what shows one fact."""

_REPEATABLE = {"svg.fonttype": "none", "svg.hashsalt": "performance"}


def draw(results: Sequence[Result], folder: Path, caption: str) -> list[Path]:
    """Draw every family of curves into *folder*, and return the files.

    They are named ``performance-FAMILY.svg``.
    """
    curves = [result for result in results if isinstance(result, Curve)]
    return [
        _draw(family, [curve for curve in curves if curve.family == family], folder, caption)
        for family in dict.fromkeys(curve.family for curve in curves)
    ]


def _draw(family: str, curves: Sequence[Curve], folder: Path, caption: str) -> Path:
    facts = list(dict.fromkeys(curve.fact for curve in curves))
    styles = _styles(curves)
    with mpl.rc_context(_REPEATABLE):
        figure = Figure(figsize=(_PANEL[0] * len(facts), _PANEL[1]), layout="constrained")
        panels = figure.subplots(1, len(facts), squeeze=False)[0]
        for panel, fact in zip(panels, facts, strict=True):
            _fill(panel, [curve for curve in curves if curve.fact == fact], styles)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=5, fontsize="small", frameon=False
        )
        figure.suptitle(caption, fontsize="small")
        file = folder / f"performance-{family}.svg"
        figure.savefig(file, metadata={"Date": None})
    return file


def _fill(panel: Axes, curves: Sequence[Curve], styles: dict[str, dict[str, str]]) -> None:
    for curve in curves:
        panel.plot(
            curve.sizes, curve.measured, label=curve.line, markersize=3.5, **styles[curve.line]
        )
    sizes = sorted({size for curve in curves for size in curve.sizes})
    unit = curves[0].unit
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xticks(
        sizes, [f"{size:,}" for size in sizes], fontsize="x-small", rotation=30, ha="right"
    )
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(value, unit)))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.tick_params(axis="y", labelsize="x-small")
    panel.set_xlabel("tokens", fontsize="small")
    panel.set_title(curves[0].fact, fontsize="small")
    panel.grid(visible=True, alpha=0.3)


def _styles(curves: Sequence[Curve]) -> dict[str, dict[str, str]]:
    """Return how each line is drawn: variants in colours, all others in broken greys."""
    lines = dict.fromkeys(curve.line for curve in curves)
    variants = [line for line in lines if _is_variant(line)]
    others = [line for line in lines if not _is_variant(line)]
    coloured = {
        line: {"color": f"C{number}", "marker": "o"} for number, line in enumerate(variants)
    }
    shades = ["0.25", "0.5", "0.7"]
    greys = {
        line: {
            "color": shades[number % len(shades)],
            "linestyle": ("--", ":", "-.")[number % 3],
            "marker": "s",
        }
        for number, line in enumerate(others)
    }
    return coloured | greys


def _is_variant(line: str) -> bool:
    """Return whether a line is of a variant: the names of those are identifiers."""
    return line.isidentifier() and line != "straightforward"
