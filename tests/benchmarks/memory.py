"""Bytes that a step holds at its fullest, each in a process of its own."""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.machine import device, synchronise
from tests.benchmarks.running import is_quick, measured

_ROOT = Path(__file__).parents[2]

_LONGEST = 300
"""Seconds that a process may take."""

_ALLOCATION = 2**16
"""Bytes from which on memory goes back to the system once it is free, so that what counts is what
is held.
"""


def peak_bytes(
    prepare: Callable[..., Callable[[], object]], *arguments: Any, **options: Any
) -> int:
    """Return the most bytes that a step holds at once, beyond what was there before it.

    ``peak_bytes(prepare, 4096, backward=True)`` calls ``prepare(4096, backward=True)`` in a process
    of its own, which makes modules and inputs and returns the step; the step is called once. What
    it returns and the gradients it leaves count, modules and inputs do not. On a GPU these are
    bytes that torch allocated there.

    Args:
        prepare: A function at the top of an importable module.
        *arguments: What it is called with; anything that can be pickled.
        **options: Likewise.
    """
    return peaks([(prepare, arguments, options)])[0]


def peaks(
    steps: list[tuple[Callable[..., Callable[[], object]], tuple[Any, ...], dict[str, Any]]],
) -> list[int]:
    """Return the bytes of several steps, made in one process, which is faster than in several.

    What need only run does so in this process, which has imported torch.
    """
    find = _peaks_here if is_quick() else _peaks_in_child
    return measured(lambda: find(steps), [1] * len(steps))


def in_child(
    function: Callable[..., Any], *arguments: Any, longest: float = _LONGEST, **options: Any
) -> Any:
    """Return what a function returns in a new process, as JSON holds it.

    The process has as many threads as this one.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.memory"],
        input=pickle.dumps((torch.get_num_threads(), function, arguments, options)),
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path]),
            "MALLOC_MMAP_THRESHOLD_": str(_ALLOCATION),
        },
        check=False,
        capture_output=True,
        timeout=longest,
    )
    if done.returncode:
        raise RuntimeError(
            f"{function.__module__}:{function.__qualname__} ends in a process of its own with\n"
            f"{done.stderr.decode(errors='replace')}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def _peaks_in_child(steps: list[Any]) -> list[int]:
    found: list[int] = in_child(_peaks_here, steps)
    return found


def _peaks_here(steps: list[Any]) -> list[int]:
    _warm_up()
    return [_peak(prepare(*arguments, **options)) for prepare, arguments, options in steps]


def _peak(step: Callable[[], object]) -> int:
    before = _forget_peak()
    kept = step()
    synchronise()
    found = _highest() - before
    del kept
    return found


def _warm_up() -> None:
    """Let torch start its threads, which hold memory too."""
    x = torch.randn(1, 2, 64, 16, device=device(), requires_grad=True)
    torch.nn.functional.scaled_dot_product_attention(x @ x.mT @ x, x, x).sum().backward()


def _forget_peak() -> int:
    """Let the highest count begin anew, and return what is held now."""
    if device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    if sys.platform != "linux":
        return _highest()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _highest() -> int:
    if device().type == "cuda":
        return torch.cuda.max_memory_allocated()
    if sys.platform != "linux":  # bytes there; the count cannot begin anew
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _status("VmHWM")


def own_bytes() -> int:
    """Return the bytes that this process holds now and that are no pages of files, on Linux."""
    return _status("RssAnon") if sys.platform == "linux" else 0


def _status(name: str) -> int:
    found = re.search(
        rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), flags=re.MULTILINE
    )
    return 1024 * int(found[1]) if found else 0


def _main() -> None:
    threads, function, arguments, options = pickle.load(sys.stdin.buffer)  # noqa: S301  of the process that waits
    torch.set_num_threads(threads)
    print(json.dumps(function(*arguments, **options)))


if __name__ == "__main__":
    _main()
