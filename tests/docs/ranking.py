"""The ranking page: the tables and pictures of its comparisons, one for each task.

``python -m tests.docs.ranking FOLDER...`` writes them anew from the folders of three comparisons.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from noether_core import structure
from noether_plugins.comparison.record import FILE, Comparison, Row
from noether_plugins.comparison.table import markdown
from tests.fresh_environment import ROOT

PAGE = ROOT / "docs" / "ranking.md"
IMAGES = ROOT / "docs" / "images"
EXPERIMENTS = ROOT / "docs" / "examples" / "ranking"

_MARKED = re.compile(r"(<!-- ranking: (?P<subject>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

Comparisons = Mapping[str, Comparison]
"""Comparisons by the type of their task."""


def write(folders: Sequence[Path]) -> None:
    """Write the tables of the page anew, and copy the pictures."""
    comparisons: dict[str, Comparison] = {}
    for folder in folders:
        found = structure(json.loads((folder / FILE).read_text(encoding="utf-8")), Comparison)
        task = str(found.experiment["task"]["type"])
        comparisons[task] = found
        shutil.copyfile(folder / "cost.png", IMAGES / f"ranking-{task}.png")

    texts = {task: markdown(comparison) for task, comparison in comparisons.items()}
    texts["all"] = "\n".join(_overall(comparisons))

    def filled(match: re.Match[str]) -> str:
        text = texts.get(match["subject"])
        return match[0] if text is None else f"{match[1]}\n{text.strip()}\n\n{match[3]}"

    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_MARKED.sub(filled, page), encoding="utf-8")


def _overall(comparisons: Comparisons) -> Iterator[str]:
    """Yield the lines of the table over all tasks, the lowest mean score first."""
    tasks = list(comparisons)
    yield " | ".join(("| type", *tasks, "mean", "ms per step", "MiB per step", "parameters |"))
    yield "|---|" + "--:|" * (len(tasks) + 4)

    rows = _rows_by_type(comparisons)
    for name in sorted(rows, key=lambda name: _mean_score(rows[name])):
        yield " | ".join((f"| `{name}`", *_cells(rows[name]))) + " |"


def _rows_by_type(comparisons: Comparisons) -> dict[str, list[Row]]:
    """Return for each type its rows, in the order of the tasks."""
    found: dict[str, list[Row]] = {}
    for comparison in comparisons.values():
        for row in comparison.rows:
            found.setdefault(row.type, []).append(row)
    return found


def _cells(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the score and the rank of each task, and the cost in the last."""
    for row in rows:
        yield row.status if row.score is None else f"{row.score:.3f} ({row.rank})"
    mean = _mean_score(rows)
    yield f"{mean:.3f}" if math.isfinite(mean) else "-"
    last = rows[-1]
    yield "-" if last.seconds_per_step is None else f"{1e3 * last.seconds_per_step:.1f}"
    yield "-" if last.step_memory_bytes is None else f"{last.step_memory_bytes / 2**20:.0f}"
    yield "-" if last.parameters is None else f"{last.parameters:,}"


def _mean_score(rows: Sequence[Row]) -> float:
    """Return the mean over tasks; infinite for a variant that cannot do one of them."""
    scores = [math.inf if row.score is None else row.score for row in rows]
    return sum(scores) / len(scores)


if __name__ == "__main__":
    write([Path(name) for name in sys.argv[1:]])
