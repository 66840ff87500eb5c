"""How far a training is: loss, time left and memory, as a bar or as lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, cast

from noether_plugins.workbench.messages import LastingStream

_LINES = 10
"""Lines of progress that a run prints where there is no terminal, about."""

Show = Callable[[int, float, int | None], None]
"""Called with the steps done, the loss, and the bytes of a step as far as they are known."""


@contextmanager
def progress(steps: int, *, done: int = 0) -> Iterator[Show]:
    """Yield a function that shows on standard error how far a training is.

    On a terminal it moves a bar, elsewhere it prints a line now and then.

    Args:
        steps: Steps of the whole training.
        done: Steps that were done before.
    """
    stream = LastingStream(sys.stderr)
    if not stream.isatty():
        yield _lines(stream, steps, done)
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
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=cast("IO[str]", stream))) as bar:
        task = bar.add_task("", total=steps, completed=done)

        def show(step: int, loss: float, memory: int | None) -> None:
            bar.update(task, completed=step, description=_state(loss, memory))

        yield show


def slow_count(what: str, *, seconds: float = 5.0) -> Callable[[int, int], None]:
    """Return what is called with how many things of how many are done, and says so now and then.

    Args:
        what: The things, in the plural.
        seconds: Time from one line to the next; what is over before prints none.
    """
    stream = LastingStream(sys.stderr)
    last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            print(f"{done} of {total} {what}", file=stream, flush=True)

    return show


def _lines(stream: LastingStream, steps: int, done: int) -> Show:
    start = time.monotonic()

    def show(step: int, loss: float, memory: int | None) -> None:
        if step not in (done + 1, steps) and step % max(1, steps // _LINES):
            return
        line = f"step {step}/{steps}: {_state(loss, memory)}"
        if step < steps:
            left = (time.monotonic() - start) / max(1, step - done) * (steps - step)
            line += f", {duration(left)} left"
        print(line, file=stream, flush=True)

    return show


def _state(loss: float, memory: int | None) -> str:
    text = f"loss {loss:.4f}"
    return text if memory is None else f"{text}, step memory {memory / 2**20:,.0f} MiB"


def duration(seconds: float) -> str:
    """Return a time as people read it: ``7 s``, ``3 min 20 s``, ``2 h 5 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"
