"""``noether`` as a process that ends with the one which started it, however that ends.

``python -m noether_plugins.comparison.child run FILE`` does what ``noether run FILE`` does. Its
standard input is a pipe that the other process holds open: once that is closed, the run is ended as
by SIGTERM, which saves what it has learnt.
"""

from __future__ import annotations

import os
import runpy
import signal
import threading
import time

_GRACE = 120.0
"""Seconds that a run has to save what it has learnt; one that hangs is ended then."""


def main() -> None:
    """Watch standard input, and run the command."""
    threading.Thread(target=_watch, daemon=True).start()
    runpy.run_module("noether_core", run_name="__main__", alter_sys=True)


def _watch() -> None:
    # The plain call: a thread that waits within Python's own input keeps a process from ending.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
