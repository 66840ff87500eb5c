"""Commands in forks of one process that has imported what takes them seconds, and done no more.

``python -m tests.plugins.workbench.forks`` is that process: a line of JSON comes in for each
command, and its status goes out.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

_ROOT = Path(__file__).parents[3]

_IMPORTED_BY_RUNS = (
    "matplotlib.backends.backend_agg",
    "noether_plugins.workbench.run",
    "torch._dynamo",  # which optimisers import
)


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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate(timeout=60)  # it ends with its input

    def run(self, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        """Run a command in *folder*; what it writes is beside it, in files that nobody sees."""
        files = [str(folder.with_name(f"{folder.name}.{name}")) for name in ("out", "err")]
        order = {"arguments": arguments, "folder": str(folder), "files": files}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(order), file=self._server.stdin, flush=True)
        status = int(self._server.stdout.readline())
        output, errors = (Path(file).read_text(encoding="utf-8") for file in files)
        return subprocess.CompletedProcess(arguments, status, output, errors)


def _serve() -> None:
    from noether_core.cli import script

    for name in _IMPORTED_BY_RUNS:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(order, script)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(order: dict[str, Any], script: Any) -> None:
    """Be the process of one command to its end."""
    os.chdir(order["folder"])
    importlib.invalidate_caches()  # packages may have been installed since
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in enumerate(order["files"], start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
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
