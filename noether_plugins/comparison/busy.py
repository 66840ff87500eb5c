"""Whether the machine did something else while this process computed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
"""In a second: what the kernel counts stolen time in."""


class Watch:
    """Measures, in a ``with`` block, its seconds and what share of them was taken away.

    Linux counts for each thread how long it was ready to compute and waited for a processor, and
    what the machine below a virtual one took. Both are known to the nanosecond or to a tick, and
    are 0 on a machine that is free. What others do on processors that this process does not want is
    not seen: it slows all rows alike, as far as caches and memory are shared.
    """

    seconds: float = 0.0
    """That passed."""

    waited: float | None = None
    """Of these, the share in which threads of this process waited, added up over the threads;
    None where the system does not count it.
    """

    processor: float = 0.0
    """Processor time of the process over the seconds: the number of threads, where none waits."""

    def __enter__(self) -> Self:
        self._waits = _waits()
        self._stolen = _stolen()
        self._processor = time.process_time()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start
        self.processor = (time.process_time() - self._processor) / self.seconds
        if self._waits is None:
            return
        before, after = self._waits, _waits() or {}
        waited = sum(now - before.get(thread, 0.0) for thread, now in after.items())
        self.waited = (waited + _stolen() - self._stolen) / self.seconds


def _waits() -> dict[str, float] | None:
    """Return by thread the seconds that it has waited for a processor; None if nobody knows."""
    waits: dict[str, float] = {}
    try:
        threads = os.listdir("/proc/self/task")  # noqa: PTH208  far quicker: within what is timed
    except OSError:
        return None
    for thread in threads:
        try:
            counts = Path(f"/proc/self/task/{thread}/schedstat").read_text(encoding="ascii").split()
        except OSError:  # the thread is over, or the kernel does not count
            continue
        waits[thread] = int(counts[1]) / 1e9
    return waits or None


def _stolen() -> float:
    """Return the seconds that the machine below this one has taken, from all processors."""
    try:
        with Path("/proc/stat").open(encoding="ascii") as file:
            counts = file.readline().split()
    except OSError:
        return 0.0
    return int(counts[8]) / _TICKS if len(counts) > 8 else 0.0  # noqa: PLR2004  its column
