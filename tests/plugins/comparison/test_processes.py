"""Runs in processes: their order, their ends, their errors; no run does any work here."""

import signal
import subprocess
import sys
import time

import attrs
import pytest

from noether_core import load
from noether_plugins.comparison import processes
from noether_plugins.comparison.processes import (
    Active,
    Run,
    carry_out,
    error_of,
    last_error,
    threads_in,
    threads_of,
)
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.signals import Signals


@pytest.fixture
def new_run(tiny, tmp_path):
    experiment = load(tiny, Experiment)

    def make(row, seed):
        folder = tmp_path / row / f"seed-{seed}"
        folder.mkdir(parents=True)
        return Run(row=row, seed=seed, experiment=experiment, folder=folder)

    return make


@pytest.fixture
def script(monkeypatch):
    """What lets runs be lines of shell, by row; each is started in its folder."""
    scripts = {}

    def start(run, jobs):
        process = subprocess.Popen(
            ["sh", "-c", scripts[run.row]],
            cwd=run.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        return Active(run, process, run.output.open("ab"))

    monkeypatch.setattr(processes, "start", start)
    monkeypatch.setattr(processes, "_PAUSE", 0.01)
    return scripts


GOOD = "echo '{}' > result.json"


def _done(runs, *, jobs=1, signals=None, look=lambda *_: None):
    over = []
    is_whole = carry_out(
        runs,
        jobs=jobs,
        signals=signals or Signals(),
        over=lambda run, error: over.append((run.row, run.seed, error)),
        look=look,
        stopping=lambda _: None,
    )
    return is_whole, over


def test_runs_are_done_in_their_order(new_run, script):
    script |= {"a": GOOD, "b": GOOD}
    runs = [new_run(row, seed) for seed in (0, 1) for row in "ab"]
    is_whole, over = _done(runs)
    assert is_whole
    assert over == [("a", 0, ""), ("b", 0, ""), ("a", 1, ""), ("b", 1, "")]


def test_of_a_row_that_failed_no_further_run_is_done(new_run, script):
    script |= {"a": "exit 1", "b": GOOD}
    is_whole, over = _done([new_run(row, seed) for seed in (0, 1) for row in "ab"])
    assert is_whole
    assert [(row, seed) for row, seed, _ in over] == [("a", 0), ("b", 0), ("b", 1)]
    assert over[0][2] == "noether run ended with status 1"


def test_so_many_runs_are_at_work_at_once(new_run, script):
    script |= dict.fromkeys("abc", f"sleep 0.2; {GOOD}")
    seen = []
    _done(
        [new_run(row, 0) for row in "abc"], jobs=2, look=lambda active, _: seen.append(len(active))
    )
    assert max(seen) == 2


def test_a_signal_ends_the_runs_at_work_and_none_begins(new_run, script):
    script |= {"a": "sleep 60", "b": GOOD}
    signals = Signals()
    start = time.monotonic()

    def look(*_):
        signals.received = signal.SIGINT

    is_whole, over = _done([new_run(row, 0) for row in "ab"], signals=signals, look=look)
    assert (is_whole, over) == (False, [])
    assert time.monotonic() - start < 30


def test_a_run_that_the_system_kills_is_said_to_have_had_no_memory(new_run, script):
    script |= {"a": "kill -KILL $$", "b": "kill -SEGV $$"}
    _, over = _done([new_run(row, 0) for row in "ab"])
    assert over[0][2].startswith("killed by SIGKILL, as a system does that has no memory left")
    assert over[1][2] == "killed by SIGSEGV"


def test_a_result_that_is_interrupted_is_none(new_run):
    run = new_run("a", 0)
    assert run.result() is None
    for text, expected in (("{", None), ('{"interrupted": true}', None), ("{}", {})):
        (run.folder / "result.json").write_text(text)
        assert run.result() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("step 1/4: loss 1\nnoether: the loss is nan at step 2\n", "the loss is nan at step 2"),
        ("noether: first\n  second\n\n", "first second"),
        ("a.yaml:1:2: depth: no\n   1 | model: 0\n     |        ^\n", "a.yaml:1:2: depth: no"),
        ("Traceback (most recent call last):\n  File x\nValueError: no\n", "ValueError: no"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_last_error_is_one_line(tmp_path, text, expected):
    (tmp_path / "out.txt").write_text(text)
    assert last_error(tmp_path / "out.txt") == expected


def test_an_error_is_what_the_run_printed_last(new_run):
    run = new_run("a", 0)
    run.output.write_text("noether: out of luck\n")
    with run.output.open("ab") as output:
        process = subprocess.Popen(["sh", "-c", "exit 1"])
        process.wait()
        assert error_of(Active(run, process, output)) == "out of luck"


def test_the_pace_is_that_of_the_last_whole_line(new_run):
    run = new_run("a", 0)
    active = Active(run, None, None)
    assert active.pace() is None
    (run.folder / "unfinished").mkdir()
    log = run.folder / "unfinished" / "log.csv"
    log.write_text("step,loss,learning_rate,seconds,validation_loss\n")
    assert active.pace() is None
    log.write_text(log.read_text() + "1,2.5,0.1,0.25,\n2,1.5,0.1,0.50,\n3,1.")
    assert active.pace() == processes.Pace(2, 1.5, 0.5)


def test_runs_at_once_share_cores_and_memory(monkeypatch, new_run):
    monkeypatch.setattr(processes, "n_cores", lambda: 8)
    for name in processes._THREADS:
        monkeypatch.delenv(name, raising=False)
    assert threads_of(3) == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert set(threads_in(3).values()) == {"1"}
    experiment = attrs.evolve(new_run("a", 0).experiment, memory_limit=6.0)
    assert processes._shared(experiment, 3).memory_limit == 2.0
    assert processes._shared(experiment, 1) is experiment


_STARTER = """\
import subprocess, sys, time
code = "import os, sys, time; from noether_plugins.comparison import child; import threading; "
code += "threading.Thread(target=child._watch, daemon=True).start(); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_run_ends_when_the_process_that_started_it_is_killed():
    starter = subprocess.Popen([sys.executable, "-c", _STARTER], stdout=subprocess.PIPE, text=True)
    pid = int(starter.stdout.readline())
    starter.kill()
    starter.communicate()
    end = time.monotonic() + 30
    while _is_alive(pid):
        assert time.monotonic() < end
        time.sleep(0.01)


def _is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:  # noqa: PTH123  of a process
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_run_is_the_command_itself():
    process = subprocess.Popen(
        [sys.executable, "-m", "noether_plugins.comparison.child", "--version"],
        stdin=subprocess.PIPE,  # which stays open
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.wait(timeout=60) == 0
    assert process.stdout.read().startswith("noether-attention ")
    process.stdin.close()
    process.stdout.close()
