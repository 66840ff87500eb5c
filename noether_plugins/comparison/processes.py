"""The runs of a comparison: each ``noether run`` in a process of its own, some at a time."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import attrs

from noether_core import dump
from noether_core.saving.runs import RESULT, UNFINISHED
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.outputs import LOG
from noether_plugins.workbench.signals import Signals

_PAUSE = 0.1
"""Seconds from one look at the processes to the next."""

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Variables by which libraries learn how many threads they may use."""

_TAIL = 4096
"""Bytes at the end of a log that hold a whole line of it."""


@attrs.frozen(kw_only=True)
class Run:
    """A row from one seed."""

    row: str
    seed: int
    experiment: Experiment

    folder: Path
    """Where its result goes; beside it lie its experiment and what it prints."""

    @property
    def file(self) -> Path:
        """The file of its experiment."""
        return self.folder.with_name(f"{self.folder.name}.yaml")

    @property
    def output(self) -> Path:
        """What it printed, errors included."""
        return self.folder.with_name(f"{self.folder.name}.txt")

    def result(self) -> dict[str, Any] | None:
        """Return what came of it; None unless it is complete."""
        try:
            found: dict[str, Any] = json.loads((self.folder / RESULT).read_bytes())
        except (OSError, ValueError):
            return None
        is_over = not found.get("interrupted") and not (self.folder / UNFINISHED).exists()
        return found if is_over else None


@attrs.frozen
class Pace:
    """How far a run is."""

    step: int
    loss: float
    seconds: float
    """Time of all steps so far."""


@attrs.define
class Active:
    """A run at work."""

    run: Run
    process: subprocess.Popen[bytes]
    output: IO[bytes]

    def pace(self) -> Pace | None:
        """Return how far it is, by the log that it writes; None before its first step."""
        return _pace_in(self.run.folder / UNFINISHED / LOG)

    def terminate(self) -> None:
        """Let it save what it has learnt and end."""
        with contextlib.suppress(OSError):
            self.process.terminate()

    def end(self) -> None:
        """End it at once, if it is not over."""
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()
        self._close()

    def over(self) -> int | None:
        """Return its exit status; None while it is at work."""
        status = self.process.poll()
        if status is not None:
            self._close()
        return status

    def _close(self) -> None:
        self.output.close()
        if self.process.stdin is not None:
            self.process.stdin.close()


Over = Callable[[Run, str], None]
"""Called with a run that is over, and why it failed; an empty text for one that is complete."""

Look = Callable[[Sequence[Active], int], None]
"""Called now and then with the runs at work, and how many wait."""

Stopping = Callable[[Sequence[Active]], None]


def carry_out(
    runs: Iterable[Run], *, jobs: int, signals: Signals, over: Over, look: Look, stopping: Stopping
) -> bool:
    """Do runs in their order, so many at a time; return whether all were done.

    Of a row that has failed, no further run is done. A signal that is waiting ends the runs at
    work, which save what they have learnt, and no other is begun.

    Args:
        runs: What to do.
        jobs: Most runs at work.
        signals: What signals have asked for; they wait here.
        over: Called with each run that is over, but for those that a signal ended.
        look: Called now and then.
        stopping: Called with the runs at work when a signal ends them, before they are waited for.
    """
    waiting, active, failed = deque(runs), list[Active](), set[str]()
    try:
        while waiting or active:
            while waiting and len(active) < jobs:
                run = waiting.popleft()
                if run.row not in failed:
                    active.append(start(run, jobs))
            look(active, len(waiting))
            if signals.received is not None:
                stopping(active)
                _stop(active, over)
                return False
            for each in _ended(active):
                error = error_of(each)
                over(each.run, error)
                if error:
                    failed.add(each.run.row)
            time.sleep(_PAUSE if active else 0)
    finally:
        for each in active:
            each.end()
    return True


def _ended(active: list[Active]) -> Iterator[Active]:
    for each in [*active]:
        if each.over() is not None:
            active.remove(each)
            yield each


def _stop(active: list[Active], over: Over) -> None:
    """End the runs at work and wait for them: they save what they have learnt."""
    for each in active:
        each.terminate()
    while active:
        for each in _ended(active):
            if each.run.result() is not None:  # it came to its end meanwhile
                over(each.run, "")
        time.sleep(_PAUSE)


def start(run: Run, jobs: int) -> Active:
    """Start a run, which goes on with what is unfinished in its folder.

    Raises:
        OSError: If its files cannot be written, or there can be no further process.
    """
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    dump(_shared(run.experiment, jobs), run.file)
    output = run.output.open("wb")
    command = [
        *(sys.executable, "-m", "noether_plugins.comparison.child", "run", str(run.file)),
        *("--output", str(run.folder), "--resume"),
    ]
    try:
        process = subprocess.Popen(  # noqa: S603  our own command
            command,
            env={**os.environ, **threads_in(jobs)},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C in a terminal goes to all of a group: it is for the comparison to pass it on.
            start_new_session=True,
        )
    except OSError:
        output.close()
        raise
    return Active(run, process, output)


def _shared(experiment: Experiment, jobs: int) -> Experiment:
    """Return an experiment with its share of the memory that all may take together."""
    limit = experiment.memory_limit
    if limit is None or jobs == 1:
        return experiment
    return attrs.evolve(experiment, memory_limit=limit / jobs)


def n_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_of(jobs: int) -> int:
    """Return how many threads each of so many runs has: no more than the environment says."""
    wanted = [os.environ.get(name, "") for name in _THREADS]
    limits = [int(text) for text in wanted if text.isdecimal() and int(text)]
    return min([max(1, n_cores() // jobs), *limits])


def threads_in(jobs: int) -> Mapping[str, str]:
    """Return the variables that share the cores among runs.

    All say the same: libraries with pools of unequal sizes have been seen to wait for each other,
    which took ten times as long.
    """
    return dict.fromkeys(_THREADS, str(threads_of(jobs)))


def error_of(ended: Active) -> str:
    """Return why a run failed; an empty text if it is complete."""
    status = ended.process.returncode
    if status == 0 and ended.run.result() is not None:
        return ""
    if status < 0:
        return _killed(-status)
    if status > 128:  # noqa: PLR2004  how a process says which signal it ended by
        return _killed(status - 128)
    return last_error(ended.run.output) or f"noether run ended with status {status}"


def _killed(signum: int) -> str:
    try:
        name = signal.Signals(signum).name
    except ValueError:
        name = f"signal {signum}"
    if name == "SIGKILL":
        return (
            "killed by SIGKILL, as a system does that has no memory left; "
            "lower training.batch_size or raise training.accumulate"
        )
    return f"killed by {name}"


_EXCERPT = re.compile(r"\s+(\d+ )?\|.*")
"""A line of a config file below an error, or the caret under it."""


def last_error(file: Path) -> str:
    """Return the last message that a run printed, in one line.

    Every line of it but the first is indented.
    """
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    lines = [line for line in lines if line.strip() and not _EXCERPT.fullmatch(line)]
    first = max((number for number, line in enumerate(lines) if line[0] != " "), default=0)
    message = " ".join(line.strip() for line in lines[first:])
    return message.removeprefix("noether: ")


def _pace_in(log: Path) -> Pace | None:
    """Return what the last whole line of a log says."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            *lines, _ = file.read().split(b"\n")
    except (OSError, ValueError):
        return None
    for line in reversed(lines):
        with contextlib.suppress(ValueError, IndexError):
            values = line.decode().split(",")
            return Pace(int(values[0]), float(values[1]), float(values[3]))
    return None
