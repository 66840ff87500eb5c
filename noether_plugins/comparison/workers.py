"""Processes that hold a model each: started, asked and ended from here.

They are processes of their own so that a variant that crashes or hangs takes nothing with it, and
so that the process that compares needs no torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, Self

from noether_core import NoetherError
from noether_core.quoting import visible

COMMAND = (sys.executable, "-m", "noether_plugins.comparison.worker")
"""What a worker is."""

_AT_ONCE = 1 << 16
_LINE = 300


class WorkerError(NoetherError, RuntimeError):
    """A worker failed; it is over."""


class Worker:
    """A process that carries out orders, one at a time, within a time limit.

    Args:
        longest: Seconds that one order may take.
        command: The process; what it reads and writes is as `serving` has it.
        environment: Variables that it has beside those of this process.
    """

    def __init__(
        self,
        *,
        longest: float,
        command: Sequence[str] = COMMAND,
        environment: Mapping[str, str] = {},
    ) -> None:
        self._longest = longest
        self._said: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  for as long as it lives
        self._process = subprocess.Popen(  # noqa: S603  ourselves
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, **environment},
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the one that compares, which then ends all
        )
        self._read = b""
        self._error = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def send(self, order: str, **arguments: Any) -> None:
        """Send an order and return at once; `receive` waits for what comes of it.

        Raises:
            WorkerError: If the process is over; the message is that of the order that ended it.
        """
        if self._error:
            raise WorkerError(self._error)
        line = json.dumps({"order": order, "arguments": arguments}) + "\n"
        stdin = self._process.stdin
        try:
            if stdin is not None:
                stdin.write(line.encode())
        except OSError as error:
            raise self._failed(self._end()) from error

    def receive(self) -> dict[str, Any]:
        """Wait for the result of an order.

        Raises:
            WorkerError: If the order fails, the process ends, or it takes too long.
        """
        deadline = time.monotonic() + self._longest
        while b"\n" not in self._read:
            left = deadline - time.monotonic()
            if left <= 0 or not self._more(left):
                raise self._failed(f"did not come to an end within {self._longest:g} seconds")
        line, _, self._read = self._read.partition(b"\n")
        result: dict[str, Any] = json.loads(line)
        if "error" in result:
            raise self._failed(visible(str(result["error"])))
        return result

    def ask(self, order: str, **arguments: Any) -> dict[str, Any]:
        """Send an order and wait for its result; see `receive`."""
        self.send(order, **arguments)
        return self.receive()

    def close(self) -> None:
        """End the process, whatever it does."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        # The group: a variant may have started processes of its own.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._said.close()

    def _more(self, seconds: float) -> bool:
        """Read what there is within some time; return False if there is nothing."""
        stdout = self._process.stdout
        if stdout is None or not select.select([stdout], [], [], seconds)[0]:
            return False
        some = os.read(stdout.fileno(), _AT_ONCE)
        if not some:
            raise self._failed(self._end())
        self._read += some
        return True

    def _failed(self, error: str) -> WorkerError:
        """Return the error that is raised from now on, for whatever is wanted; end the process."""
        self._error = error
        self.close()
        return WorkerError(error)

    def _end(self) -> str:
        """Return how the process ended, with the last line that it wrote on standard error."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        status = self._process.poll()
        how = f"the process ended with status {status}"
        if status is None:
            how = "the process gave no result any more"
        elif status < 0:
            how = f"the process was ended by {signal.Signals(-status).name}"
        last = _last_line(self._said)
        return f"{how}: {last}" if last else how


def _last_line(file: BinaryIO) -> str:
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - _AT_ONCE))
    lines = file.read().decode(errors="replace").strip().splitlines()
    return visible(lines[-1][:_LINE]) if lines else ""


@contextmanager
def closing(workers: Sequence[Worker]) -> Iterator[None]:
    """End all workers behind the block, however that ends."""
    try:
        yield
    finally:
        for worker in workers:
            worker.close()
