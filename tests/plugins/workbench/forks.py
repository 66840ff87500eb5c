"""Commands in forks of one process that has imported what takes them seconds, and done no more.

``python -m tests.plugins.workbench.forks`` is that process: a line of JSON comes in for each
command, and its status goes out.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

_ROOT = Path(__file__).parents[3]

_IMPORTED_BY_RUNS = (
    "matplotlib.backends.backend_agg",
    "noether_plugins.tasks.airfoil.picture",
    "noether_plugins.tasks.airfoil.task",
    "noether_plugins.workbench.predicting",
    "noether_plugins.workbench.run",
    "torch._dynamo",  # which optimisers import
)


_LONGEST = 600
"""Seconds after which a command that does not end is killed."""


class Forks:
    """Runs ``noether``; each command is a process with arguments, folder and files of its own."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=_ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._started: Started | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate(timeout=60)  # it ends with its input

    def run(
        self, arguments: list[str], folder: Path, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; see `start`."""
        return self.start(arguments, folder, **options).wait()

    def start(
        self,
        arguments: list[str],
        folder: Path,
        *,
        largest_file: int | None = None,
        closed: bool = False,
    ) -> Started:
        """Start a command in *folder*; one at a time: what a failed test left is killed.

        Args:
            arguments: What stands behind ``noether``.
            folder: Where it runs; what it writes is beside it, in files that nobody sees.
            largest_file: Bytes of the largest file that it may write, as on a disk that is full.
            closed: Whether nobody reads what it writes.
        """
        if self._started is not None and not self._started.is_over:
            os.kill(self._started.pid, signal.SIGKILL)
            self._started.wait()
        files = [str(folder.with_name(f"{folder.name}.{name}")) for name in ("out", "err")]
        for file in files:  # of a command before there may be some
            Path(file).write_text("", encoding="utf-8")
        order = {
            "arguments": arguments,
            "folder": str(folder),
            "files": files,
            "largest_file": largest_file,
            "closed": closed,
        }
        assert self._server.stdin is not None
        print(json.dumps(order), file=self._server.stdin, flush=True)
        self._started = Started(arguments, int(self._line()), files, self._line)
        return self._started

    def _line(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline()


class Started:
    """A command that runs."""

    def __init__(
        self, arguments: list[str], pid: int, files: list[str], line: Callable[[], str]
    ) -> None:
        self.pid = pid
        self.is_over = False
        self._arguments, self._files, self._line = arguments, files, line

    def wait(self) -> subprocess.CompletedProcess[str]:
        """Wait for its end; a status below 0 is the signal that ended it."""
        deadline = threading.Timer(_LONGEST, os.kill, (self.pid, signal.SIGKILL))
        deadline.start()
        status = int(self._line())
        self.is_over = True
        deadline.cancel()
        output, errors = (Path(file).read_text(encoding="utf-8") for file in self._files)
        return subprocess.CompletedProcess(self._arguments, status, output, errors)

    def wait_for(self, text: str) -> None:
        """Wait until its standard error has *text*."""
        end = time.monotonic() + 300
        while text not in Path(self._files[1]).read_text(encoding="utf-8"):
            assert time.monotonic() < end, text
            time.sleep(0.002)


def _serve() -> None:
    from noether_core.cli import script

    for name in _IMPORTED_BY_RUNS:
        importlib.import_module(name)
    _draw_once()
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(order, script)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _draw_once() -> None:
    """Let matplotlib find its fonts, which takes longer than to draw with them."""
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    figure.subplots().set_title("speed over free stream")
    figure.savefig(io.BytesIO(), format="png")


def _become(order: dict[str, Any], script: Any) -> None:
    """Be the process of one command to its end."""
    os.chdir(order["folder"])
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    importlib.invalidate_caches()  # packages may have been installed since
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in enumerate(order["files"], start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        if order["closed"]:
            reader, writer = os.pipe()
            os.close(reader)
            os.dup2(writer, number)
    if order["largest_file"] is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file"], resource.RLIM_INFINITY))
    sys.argv = ["noether", *order["arguments"]]
    status = 1
    try:
        script()
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    except BaseException:  # noqa: BLE001  as an interpreter does
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
