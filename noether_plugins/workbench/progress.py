"""Progress of a training: a bar on a terminal, a line now and then in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LINES = 10


@contextmanager
def progress(steps: int) -> Iterator[Callable[[int, float], None]]:
    """Yield a function that is told the number of steps done and the loss, and shows them on
    standard error.
    """
    if not sys.stderr.isatty():
        yield lambda step, loss: _line(step, loss, steps)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=steps)
        yield lambda step, loss: bar.update(task, completed=step, description=f"loss {loss:.4f}")


def _line(step: int, loss: float, steps: int) -> None:
    if step in (1, steps) or step % max(1, steps // _LINES) == 0:
        print(f"step {step}/{steps}: loss {loss:.4f}", file=sys.stderr, flush=True)
