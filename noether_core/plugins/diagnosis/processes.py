"""Processes that import one plugin each, and what became of it there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from noether_core.plugins.metadata import EntryPoint, searched_path

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from noether_core.plugins.diagnosis.probe import main; main(*sys.argv[2:])"
)
_MOST_AT_ONCE = 8
_PAUSE = 0.005
_MOST_TOLD = 300


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of one plugin, or of one module that ``NOETHER_REGISTER`` names."""

    entry: EntryPoint | None
    """The plugin; None for a module."""

    module: str
    """The module that was imported."""

    reason: str | None = None
    """Why it cannot be used; None where it can."""

    milliseconds: float | None = None
    """Time that importing it took, less that for Python and Noether; None where it did not come
    back.
    """

    imports_torch: bool = False
    """Whether torch came along."""

    registered: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    """Types that it registered in the process while it was imported."""

    api_version: int | None = None
    """The contract that it was written for, where it told."""

    complaint: str | None = None
    """What is wrong with the class of its module."""

    printed: str = ""
    """What it wrote to standard output, as far as there is room."""

    @property
    def name(self) -> str:
        """What it is called: ``distribution:type``, or the module."""
        return self.module if self.entry is None else self.entry.qualified_name


@attrs.frozen
class _Task:
    entry: EntryPoint | None
    module: str
    is_deep: bool

    def as_json(self) -> str:
        return json.dumps(
            {"entry": list(self.entry or ()), "module": self.module, "is_deep": self.is_deep}
        )


@attrs.frozen
class _Child:
    """A process that imports one plugin. It writes to files: a pipe would be held open by whatever
    it starts.
    """

    task: _Task
    process: subprocess.Popen[bytes]
    stem: str
    deadline: float

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self.deadline

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def kill(self) -> None:
        """End the process, and what it started."""
        if not self.has_ended:
            with contextlib.suppress(
                AttributeError, OSError
            ):  # where there are no groups, or none is left
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()


def outcomes(
    entries: Iterable[EntryPoint], modules: Iterable[str], *, is_deep: bool, timeout: float
) -> Iterator[Outcome]:
    """Import plugins, and modules that ``NOETHER_REGISTER`` names, several at once where there are
    processors for it.

    Args:
        entries: Plugins.
        modules: Modules.
        is_deep: Import the modules of variants as well, and make one of each example.
        timeout: Seconds that each may take, Python's start included.

    Yields:
        What became of each, in the order in which they end.
    """
    waiting = [_Task(entry, entry.value, is_deep) for entry in entries]
    waiting += [_Task(None, module, is_deep) for module in modules]
    waiting.reverse()
    running: list[_Child] = []
    with tempfile.TemporaryDirectory(prefix="noether-", ignore_cleanup_errors=True) as folder:
        try:
            while waiting or running:
                while waiting and len(running) < min(os.cpu_count() or 1, _MOST_AT_ONCE):
                    running.append(
                        _started(waiting.pop(), os.path.join(folder, str(len(waiting))), timeout)
                    )
                time.sleep(_PAUSE)
                for child in [child for child in running if child.has_ended or child.is_late]:
                    running.remove(child)
                    yield _outcome(child, timeout)
        finally:
            for child in running:
                child.kill()


def _started(task: _Task, stem: str, timeout: float) -> _Child:
    variables = {name: value for name, value in os.environ.items() if name != "NOETHER_REGISTER"}
    if task.entry is None:
        variables["NOETHER_REGISTER"] = task.module
    with open(f"{stem}.out", "wb") as printed, open(f"{stem}.err", "wb") as complained:
        process = subprocess.Popen(  # noqa: S603  ourselves
            [
                sys.executable,
                "-P",
                "-c",
                _START,
                json.dumps(searched_path()),
                task.as_json(),
                f"{stem}.json",
            ],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=complained,
            env=variables,
            start_new_session=True,
        )
    return _Child(task, process, stem, time.monotonic() + timeout)


def _outcome(child: _Child, timeout: float) -> Outcome:
    """Return what became of the plugin of a process, which is ended if it has not."""
    has_ended = child.has_ended
    child.kill()
    facts = _facts(f"{child.stem}.json") if has_ended else None
    if facts is None:
        late = f"does not come back from its import within {timeout:g} seconds"
        how = f"ends the process that imports it, {_last_words(child)}" if has_ended else late
        facts = {"reason": f"{child.task.module} {how}"}
    return Outcome(
        entry=child.task.entry,
        module=child.task.module,
        printed=_start_of(f"{child.stem}.out"),
        **facts,
    )


def _facts(report: str) -> dict[str, Any] | None:
    try:
        with open(report, encoding="utf-8") as file:
            facts: dict[str, Any] = json.load(file)
    except (OSError, ValueError):
        return None
    return facts


def _last_words(child: _Child) -> str:
    """Return how a process ended that told nothing."""
    status = child.process.returncode
    how = f"with signal {-status}" if status < 0 else f"with status {status}"
    with open(f"{child.stem}.err", "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST_TOLD))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return f"{how}: {lines[-1]}" if lines else how


def _start_of(name: str) -> str:
    with open(name, "rb") as file:
        return file.read(_MOST_TOLD).decode(errors="replace").strip()
