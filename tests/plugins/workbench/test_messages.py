"""Streams that go away."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from noether_plugins.workbench.messages import LastingStream
from noether_plugins.workbench.progress import duration, progress, slow_count

SPEAKER = """
import sys
from noether_plugins.workbench.messages import say, say_result
for number in range(2000):
    say(f"line {number} of many")
    say_result(f"result {number}")
for stream in (sys.stdout, sys.stderr):
    print("from elsewhere", file=stream, flush=True)
open(sys.argv[1], "w").write("done")
"""


FULL = Path("/dev/full")
"""A disk that is always full; Linux has one."""


@pytest.mark.skipif(not FULL.exists(), reason="a disk that is always full is Linux's")
def test_a_full_disk_takes_no_process_with_it(tmp_path):
    with FULL.open("w") as full:
        status = subprocess.run(
            [sys.executable, "-c", SPEAKER, tmp_path / "end"], stdout=full, stderr=full, check=False
        ).returncode
    assert status == 0
    assert (tmp_path / "end").read_text() == "done"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are POSIX's")
def test_a_reader_that_leaves_takes_no_process_with_it(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SPEAKER, tmp_path / "end"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr.readline() == b"line 0 of many\n"
    process.stderr.close()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "end").read_text() == "done"


def test_a_stream_that_is_closed_or_missing_takes_what_is_written():
    closed = io.StringIO()
    closed.close()
    for stream in (LastingStream(closed), LastingStream(None)):
        assert not stream.isatty()
        print("anything", file=stream, flush=True)


def test_progress_without_a_terminal_is_lines_with_loss_time_left_and_memory(capsys):
    with progress(30, done=4) as show:
        for step in range(5, 31):
            show(step, 1 / step, 3 * 2**20)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "step 5/30: loss 0.2000, step memory 3 MiB, 0 s left"
    assert lines[-1] == "step 30/30: loss 0.0333, step memory 3 MiB"


def test_work_that_takes_long_says_how_much_is_done(capsys):
    for seconds in (0.0, 100.0):
        show = slow_count("samples", seconds=seconds)
        for number in range(3):
            show(number + 1, 3)
    assert capsys.readouterr().err.splitlines() == [
        "1 of 3 samples",
        "2 of 3 samples",
        "3 of 3 samples",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(7.4, "7 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (59.9, "1 min 0 s")],
)
def test_times_are_written_as_people_read_them(seconds, text):
    assert duration(seconds) == text
