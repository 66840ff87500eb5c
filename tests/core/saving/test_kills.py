"""A process that is killed while it saves leaves the older file or the new one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from noether_core import load_module, save

SCRIPT = Path(__file__).parent / "saves_until_killed.py"
KILLS = 100
LONGEST = 0.06
"""Seconds until a process is killed: several times what it takes to save."""


@pytest.fixture
def saver(tmp_path):
    """A process that starts processes which save, ready to start the first."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, SCRIPT, tmp_path]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.stdin.close()
    process.stdout.close()
    assert process.wait(timeout=60) == 0


def kill_one(saver: subprocess.Popen[str], seconds: float) -> None:
    """Start a process that saves, and kill it after a while."""
    saver.stdin.write("\n")
    saver.stdin.flush()
    child = int(saver.stdout.readline())
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    assert saver.stdout.readline() == "gone\n"


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(".*"))


def test_after_a_hundred_kills_at_any_moment_the_file_is_one_or_the_other(saver, tmp_path):
    whole = {(tmp_path / name).read_bytes(): name for name in ("first", "second")}
    assert len(whole) == 2
    found, interrupted = set(), 0
    for _ in range(KILLS):
        kill_one(saver, random.uniform(0, LONGEST))
        if (
            tmp_path / "module"
        ).exists():  # not before the first process has saved for the first time
            found.add(whole[(tmp_path / "module").read_bytes()])
            load_module(tmp_path / "module", strict=True)
        left = leftovers(tmp_path)
        assert len(left) <= 1, "each process removes what the one before it left"
        interrupted += len(left)
    assert found == {"first", "second"}
    assert interrupted >= KILLS // 10, "a kill while nothing is written proves nothing"

    save(load_module(tmp_path / "first"), tmp_path / "module")
    assert leftovers(tmp_path) == []
    assert (tmp_path / "module").read_bytes() == (tmp_path / "first").read_bytes()
