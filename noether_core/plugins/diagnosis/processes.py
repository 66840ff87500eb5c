"""What becomes of each plugin that is imported, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from typing import Any

import attrs

from noether_core.plugins.metadata import EntryPoint, searched_path

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from noether_core.plugins.diagnosis.probe import main; main(*sys.argv[2:])"
)
_MARK = "NOETHER_DOCTOR"
"""A variable that everything inherits that a plugin starts: the folder of the diagnosis."""

_MOST_AT_ONCE = 8
_MOST_SWEEPS = 20
_MOST_PRINTED = 300


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
    """Time of the import, less that for Python and Noether, and less waiting for a processor.

    None where it did not come back.
    """

    imports_torch: bool = False
    """Whether torch came along."""

    registered: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    """Types that it registered in the process while it was imported."""

    api_version: int | None = None
    """The contract that it was written for; None for what has no record."""

    complaint: str | None = None
    """What is wrong with the class of its module."""

    printed: str = ""
    """What it wrote to standard output, as far as there is room."""

    @property
    def name(self) -> str:
        """What it is called: ``distribution:type``, or the module."""
        return self.module if self.entry is None else self.entry.qualified_name


def outcomes(
    entries: Iterable[EntryPoint], modules: Iterable[str], *, is_deep: bool, timeout: float
) -> Iterator[Outcome]:
    """Import plugins, and modules that ``NOETHER_REGISTER`` names, several at once.

    Args:
        entries: Plugins.
        modules: Modules.
        is_deep: Import the modules of variants and tasks as well, and make one of each example.
        timeout: Seconds that each may take, Python's start included.

    Yields:
        What became of each, in the order in which they end.
    """
    tasks = [_Task(entry, entry.value, is_deep) for entry in entries]
    tasks += [_Task(None, module, is_deep) for module in modules]
    threads = min(os.cpu_count() or 1, _MOST_AT_ONCE)
    with (
        tempfile.TemporaryDirectory(prefix="noether-", ignore_cleanup_errors=True) as folder,
        ThreadPoolExecutor(threads) as pool,
    ):
        children = _Children(folder, timeout)
        futures = [
            pool.submit(children.outcome_of, number, task) for number, task in enumerate(tasks)
        ]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:  # on Ctrl-C too, which does not reach processes in groups of their own
            children.end_all()


@attrs.frozen
class _Task:
    entry: EntryPoint | None
    module: str
    is_deep: bool

    def as_json(self) -> str:
        entry = list(self.entry or ())
        return json.dumps({"entry": entry, "module": self.module, "is_deep": self.is_deep})


class _Children:
    """Processes that import one plugin each; safe to use from any thread.

    They write to files: a pipe would be held open by whatever they start.
    """

    def __init__(self, folder: str, timeout: float) -> None:
        self._folder = folder
        self._timeout = timeout
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_ending = False

    def outcome_of(self, number: int, task: _Task) -> Outcome:
        """Start the process of a task, wait for it, and return what became of the plugin."""
        stem = os.path.join(self._folder, str(number))
        process = self._start(task, stem)
        facts: dict[str, Any] | None
        try:
            process.wait(self._timeout)
        except subprocess.TimeoutExpired:
            late = f"does not come back from its import within {self._timeout:g} seconds"
            facts = {"reason": f"{task.module} {late}"}
        else:
            facts = _report(f"{stem}.json")
        finally:
            _end(process)
            self._running.discard(process)

        if facts is None:
            how = _last_words(process, f"{stem}.err")
            facts = {"reason": f"{task.module} ends the process that imports it, {how}"}
        printed = _start_of(f"{stem}.out")
        return Outcome(entry=task.entry, module=task.module, printed=printed, **facts)

    def _start(self, task: _Task, stem: str) -> subprocess.Popen[bytes]:
        """Start a process; its group is its own, so that what it starts can be ended with it."""
        environment = dict(os.environ)
        environment.pop("NOETHER_REGISTER", None)
        environment[_MARK] = self._folder
        if task.entry is None:
            environment["NOETHER_REGISTER"] = task.module

        arguments = [json.dumps(searched_path()), task.as_json(), f"{stem}.json"]
        with (
            self._lock,
            open(f"{stem}.out", "wb") as output,
            open(f"{stem}.err", "wb") as errors,
        ):
            if self._is_ending:
                raise CancelledError
            process = subprocess.Popen(  # noqa: S603  ourselves
                [sys.executable, "-P", "-c", _START, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
            self._running.add(process)
        return process

    def end_all(self) -> None:
        """End every process, and all that any of them has started; none is started any more."""
        with self._lock:
            self._is_ending = True
            running = list(self._running)
        for process in running:
            _end(process)
        _end_marked(self._folder)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process, and what it started, even where it has ended itself."""
    with contextlib.suppress(AttributeError, OSError):  # no groups here, or none is left
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _end_marked(mark: str) -> None:
    """End what has left the group that it was started in, where the system lets it be found."""
    entry = f"{_MARK}={mark}".encode()
    for _ in range(_MOST_SWEEPS):  # what is found may just have started another
        marked = [process for process in _processes() if entry in _environment_of(process)]
        if not marked:
            return
        for process in marked:
            with contextlib.suppress(OSError):  # it has ended meanwhile
                os.kill(process, signal.SIGKILL)


def _processes() -> list[int]:
    """Return the processes of this machine, on Linux."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return []


def _environment_of(process: int) -> list[bytes]:
    """Return the variables that a process was started with; none for another user's."""
    try:
        with open(f"/proc/{process}/environ", "rb") as stream:
            return stream.read().split(b"\0")
    except OSError:
        return []


def _report(file: str) -> dict[str, Any] | None:
    """Return what a process has reported; None where it did not come to that."""
    try:
        with open(file, encoding="utf-8") as stream:
            facts: dict[str, Any] = json.load(stream)
    except (OSError, ValueError):
        return None
    return facts


def _last_words(process: subprocess.Popen[bytes], file: str) -> str:
    """Return how a process ended that reported nothing."""
    status = process.returncode
    how = f"with signal {-status}" if status < 0 else f"with status {status}"
    with open(file, "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _MOST_PRINTED))
        lines = stream.read().decode(errors="replace").strip().splitlines()
    return f"{how}: {lines[-1]}" if lines else how


def _start_of(file: str) -> str:
    with open(file, "rb") as stream:
        return stream.read(_MOST_PRINTED).decode(errors="replace").strip()
