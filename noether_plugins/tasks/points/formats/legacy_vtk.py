"""VTK's old files, whose reader damaged ones crash: another process reads each first."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from noether_plugins.tasks.points.formats.source import FileFault

EXTENSION: Final = ".vtk"

_READ_ALL = """
import json, sys
import pyvista
for line in sys.stdin:
    try:
        pyvista.get_reader(json.loads(line)).read()
    except Exception:
        pass
    print("alive", flush=True)
"""


class _Reader:
    """A process that reads files one by one, until one of them ends it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._survived: set[tuple[str, int, int]] = set()

    def survives(self, path: str) -> bool:
        """Return whether the process reads a file and lives on; it reads each once."""
        # absolute: the process may have been started in another folder
        absolute = Path(path).absolute()
        status = absolute.stat()
        file = (str(absolute), status.st_size, status.st_mtime_ns)
        if file not in self._survived and self._reads(str(absolute)):
            self._survived.add(file)
        return file in self._survived

    def _reads(self, path: str) -> bool:
        process = self._running()
        assert process.stdin is not None  # noqa: S101  both are pipes, as asked for
        assert process.stdout is not None  # noqa: S101  likewise
        try:
            print(json.dumps(path), file=process.stdin, flush=True)
            if process.stdout.readline():
                return True
        except BrokenPipeError:
            pass
        self.end()
        return False

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            atexit.register(self.end)
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter, and text of ours
                [sys.executable, "-c", _READ_ALL],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,  # Ctrl-C is for whoever trains
            )
        return self._process

    def end(self) -> None:
        """End the process, if there is one; the next file starts another."""
        if self._process is not None:
            self._process.communicate()
            self._process = None
            atexit.unregister(self.end)


_reader = _Reader()


def refuse_what_crashes(path: str) -> None:
    """Let another process read a file first.

    Raises:
        FileFault: If that ends the process.
    """
    if not _reader.survives(path):
        raise FileFault("is damaged: VTK crashes when it reads it")
