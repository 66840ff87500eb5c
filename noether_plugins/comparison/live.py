"""How far a comparison is: a table that moves on a terminal, lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Protocol, cast

from noether_core.quoting import visible
from noether_plugins.comparison.processes import Active, Pace, Run
from noether_plugins.comparison.record import Row
from noether_plugins.workbench.messages import LastingStream
from noether_plugins.workbench.progress import duration

if TYPE_CHECKING:
    from rich.table import Table

_BETWEEN_LINES = 30.0
"""Seconds from one line on runs at work to the next, where there is no terminal."""

_BETWEEN_FRAMES = 0.5
"""Seconds from one picture on a terminal to the next."""

_AROUND = 5
"""Lines of a terminal that are left for what stands around the rows."""


class Display(Protocol):
    """What is shown while runs are at work."""

    def look(self, active: Sequence[Active], waiting: int) -> None:
        """Show how far runs are."""

    def over(self, run: Run, row: Row, error: str) -> None:
        """Show that a run is over; *row* knows what came of it."""


@contextmanager
def displayed(rows: Iterable[Row], *, n_seeds: int, jobs: int) -> Iterator[Display]:
    """Yield what shows on standard error how far runs are."""
    stream = LastingStream(sys.stderr)
    state = _State(rows, n_seeds, jobs)
    if not stream.isatty():
        yield _Lines(stream, state)
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(file=cast("IO[str]", stream))
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield _Picture(state, live, console)


class _State:
    """What is known of each row, and how long runs took."""

    def __init__(self, rows: Iterable[Row], n_seeds: int, jobs: int) -> None:
        self.rows = {row.name: row for row in rows}
        self.n_seeds = n_seeds
        self.left: str = ""
        self._jobs = jobs
        self._started: dict[tuple[str, int], float] = {}
        self._paces: dict[tuple[str, int], Pace] = {}
        self._took: list[float] = []

    def look(self, active: Sequence[Active], waiting: int) -> None:
        """Note how far runs are, and estimate what is left."""
        now = time.monotonic()
        for each in active:
            self._started.setdefault((each.run.row, each.run.seed), now)
        count = waiting + len(active)
        left = f"{count} runs left" if count > 1 else "the last run"
        if self._took:
            mean = math.fsum(self._took) / len(self._took)
            so_far = sum(now - self._started[each.run.row, each.run.seed] for each in active)
            seconds = (count * mean - so_far) / self._jobs
            if seconds >= 1:  # below that it takes longer than those before
                left += f", about {duration(seconds)}"
        self.left = left

    def pace(self, active: Active) -> Pace | None:
        """Return how far a run is; None before its first step.

        Its log lies elsewhere once the training is over.
        """
        key = active.run.row, active.run.seed
        pace = active.pace() or self._paces.get(key)
        if pace is not None:
            self._paces[key] = pace
        return pace

    def over(self, run: Run, row: Row) -> None:
        """Note what came of a run."""
        self.rows[row.name] = row
        start = self._started.get((run.row, run.seed))
        if start is not None:
            self._took.append(time.monotonic() - start)


def score_of(row: Row) -> float | None:
    """Return the mean ratio so far, over fields and seeds; None where there is none."""
    ratios = [value for values in row.ratios.values() for value in values if value is not None]
    return math.fsum(ratios) / len(ratios) if ratios else None


def _n_done(row: Row) -> int:
    """Return how many seeds have ended."""
    counts = [sum(value is not None for value in values) for values in row.ratios.values()]
    return max(counts, default=0)


class _Lines:
    """A line for each run that is over, and now and then one for those at work."""

    def __init__(self, stream: LastingStream, state: _State) -> None:
        self._stream, self._state = stream, state
        self._last = time.monotonic()

    def look(self, active: Sequence[Active], waiting: int) -> None:
        """Print a line for each run at work, if it is time."""
        self._state.look(active, waiting)
        if time.monotonic() - self._last < _BETWEEN_LINES:
            return
        self._last = time.monotonic()
        for each in active:
            pace = self._state.pace(each)
            steps = each.run.experiment.training.steps
            if pace is not None:
                at = f"step {pace.step}/{steps}, loss {pace.loss:.4f}"
                self._print(f"{each.run.row}, seed {each.run.seed}: {at}; {self._state.left}")

    def over(self, run: Run, row: Row, error: str) -> None:
        """Print what came of a run."""
        self._state.over(run, row)
        self._last = time.monotonic()
        score = score_of(row)
        text = f"failed: {error}" if error else "complete"
        if score is not None and not error:
            text += f", error over that of the mean {score:.3f} so far"
        self._print(f"{run.row}, seed {run.seed}: {text}")

    def _print(self, line: str) -> None:
        print(visible(line), file=self._stream, flush=True)


class _Picture:
    """A table of all rows, drawn anew."""

    def __init__(self, state: _State, live: object, console: object) -> None:
        self._state, self._live, self._console = state, live, console
        self._last = -math.inf

    def look(self, active: Sequence[Active], waiting: int) -> None:
        """Draw the table, if it is time."""
        self._state.look(active, waiting)
        if time.monotonic() - self._last < _BETWEEN_FRAMES:
            return
        self._last = time.monotonic()
        self._live.update(self._table(active), refresh=True)  # type: ignore[attr-defined]

    def over(self, run: Run, row: Row, error: str) -> None:  # noqa: ARG002  the row knows it
        """Note what came of a run."""
        self._state.over(run, row)

    def _table(self, active: Sequence[Active]) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold", caption=self._state.left)
        table.caption_justify = "left"
        table.add_column("row", overflow="ellipsis", no_wrap=True, ratio=1)
        for column in ("seeds", "step", "loss", "error / mean", "state"):
            table.add_column(column, justify="right", no_wrap=True)
        at_work = {each.run.row: each for each in active}
        shown = self._shown(at_work.keys())
        for row in shown:
            table.add_row(*map(Text, self._cells(row, at_work.get(row.name))))
        hidden = len(self._state.rows) - len(shown)
        if hidden:
            table.add_row(Text(f"and {hidden} more", style="dim"))
        return table

    def _shown(self, at_work: Iterable[str]) -> list[Row]:
        """Return as many rows as there is room for, those at work among them, in their order."""
        rows = [*self._state.rows.values()]
        room = max(1, self._console.height - _AROUND)  # type: ignore[attr-defined]
        if len(rows) <= room:
            return rows
        names = set(at_work)
        first = [row for row in rows if row.name in names]
        others = [row for row in rows if row.name not in names]
        chosen = {row.name for row in (first + others)[:room]}
        return [row for row in rows if row.name in chosen]

    def _cells(self, row: Row, active: Active | None) -> list[str]:
        score = score_of(row)
        step, loss, state = "", "", str(row.status).replace("unfinished", "waiting")
        if active is not None:
            state = f"seed {active.run.seed}"
            steps, pace = active.run.experiment.training.steps, self._state.pace(active)
            if pace is not None:
                step, loss = f"{pace.step}/{steps}", f"{pace.loss:.4f}"
        return [
            visible(row.name),
            f"{_n_done(row)}/{self._state.n_seeds}",
            step,
            loss,
            "" if score is None else f"{score:.3f}",
            state,
        ]
