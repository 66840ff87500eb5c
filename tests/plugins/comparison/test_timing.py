"""What a step costs, measured in turns."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import attrs
import pytest

from noether_core import AttentionConfig, structure
from noether_plugins.comparison.busy import Watch
from noether_plugins.comparison.plan import Entry
from noether_plugins.comparison.scaling import fitted_exponent
from noether_plugins.comparison.timing import Limits, measure_costs
from noether_plugins.comparison.turns import Samples, Subject, take_turns
from noether_plugins.comparison.workers import Worker, WorkerError
from noether_plugins.workbench.experiment import Experiment

_FAKE = (sys.executable, "-m", "tests.plugins.comparison.fake_worker")

_counts_waiting = pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="this system counts no waiting"
)

_TASK = {"type": "airfoil", "n_surface": 11, "n_volume": 23}


def _entries(*types):
    plain = {
        "task": _TASK,
        "attention": {"type": "linear", "hidden_dim": 8, "num_heads": 2},
        "model": {"depth": 1},
    }
    experiment = structure(plain, Experiment)
    return [
        Entry(
            name=each,
            experiment=attrs.evolve(
                experiment, attention=AttentionConfig(type=each, hidden_dim=8, num_heads=2)
            ),
        )
        for each in types
    ]


@pytest.fixture(scope="module")
def costs():
    """Those of rows that come to all kinds of ends, beside one that is sound."""
    types = ("hangs", "sound", "fails", "crashes", "is_disturbed", "small")
    limits = Limits(longest=3.0, attempts=2)
    said = []
    found = measure_costs(
        _entries(*types),
        report=said.append,
        rounds=3,
        limits=limits,
        environment={"SECONDS": "0.007"},
        command=_FAKE,
    )
    assert said
    return found


def test_a_sound_row_has_median_and_quartiles(costs):
    timing = costs["sound"].step
    assert (timing.median, timing.samples, timing.dropped) == (0.007, 3, 0)
    assert (costs["sound"].tokens, costs["sound"].error) == (96, "")


def test_a_row_that_raises_says_what(costs):
    assert costs["fails"].error == "ValueError: no such luck"
    assert costs["fails"].step is None


def test_a_row_that_crashes_takes_nothing_with_it(costs):
    assert costs["crashes"].error == "the process was ended by SIGSEGV: the last words"


def test_a_row_that_hangs_is_ended(costs):
    assert costs["hangs"].error == "did not come to an end within 3 seconds"


def test_where_all_samples_were_dropped_there_is_no_number(costs):
    timing = costs["is_disturbed"].step
    assert (timing.median, timing.samples, timing.dropped) == (None, 0, 6)
    scaling = costs["is_disturbed"].scaling
    assert len(scaling.tokens) > 3
    assert {*scaling.seconds} == {None}
    assert scaling.dropped
    assert (scaling.time_exponent, scaling.memory_exponent) == (None, pytest.approx(1))
    assert costs["is_disturbed"].error == ""


def test_tokens_double_until_a_limit_is_met(costs):
    scaling = costs["sound"].scaling
    assert scaling.tokens == tuple(1024 << number for number in range(len(scaling.tokens)))
    assert scaling.tokens[-1] >= 2**20  # a second, of three that it may take
    assert scaling.seconds[-1] < 3
    assert scaling.time_exponent == pytest.approx(2)
    assert scaling.memory_exponent == pytest.approx(1)


def test_a_row_that_has_no_memory_for_more_keeps_what_it_has(costs):
    assert costs["small"].scaling.tokens == (1024, 2048, 4096)
    assert costs["small"].error == ""


def test_an_exponent_is_that_of_the_upper_half():
    tokens = [2**number for number in range(10, 18)]
    flat = [max(1.0, size / 2**13) for size in tokens]
    assert fitted_exponent(tokens, flat) == pytest.approx(1)
    assert fitted_exponent(tokens[:2], flat[:2]) is None
    assert fitted_exponent(tokens[:4], [1.0, None, 2.0, 3.0]) is not None
    assert fitted_exponent(tokens[:4], [1.0, None, None, 3.0]) is None


class _Silent(Subject):
    """A row that is measured without a process."""

    def __init__(self, name):
        super().__init__(name, None)


def test_each_round_begins_with_another_row():
    order = []

    def measure(subject):
        order.append(subject.name)
        return {"seconds": 1.0, "waited": 0.0, "processor": 1.0}

    rows = [_Silent(name) for name in "abc"]
    take_turns(rows, measure, rounds=3, attempts=1, end=time.monotonic() + 100)
    assert "".join(order) == "abcbcacab"


def test_samples_that_were_disturbed_are_taken_again():
    waits = iter([0.0, 0.3, 0.0, 0.06, 0.04])

    def measure(subject):
        return {"seconds": 1.0, "waited": next(waits), "processor": 1.0}

    found = take_turns([_Silent("a")], measure, rounds=3, attempts=3, end=time.monotonic() + 100)
    assert found["a"] == Samples(kept=[1.0, 1.0, 1.0], dropped=2)


def test_where_nobody_counts_waiting_a_lack_of_processor_time_says_it():
    row = _Silent("a")
    results = [{"waited": None, "processor": each} for each in (1.9, 1.8, 1.0)]
    assert [row.is_disturbed(result) for result in results] == [False, False, True]


def _compute(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


@_counts_waiting
def test_a_process_on_the_same_processor_is_seen():
    before = os.sched_getaffinity(0)
    one = min(before)
    spinning = subprocess.Popen(
        [sys.executable, "-c", f"import os\nos.sched_setaffinity(0, [{one}])\nwhile True: pass"]
    )
    try:
        os.sched_setaffinity(0, [one])
        time.sleep(0.2)
        with Watch() as watch:
            _compute(0.2)
    finally:
        os.sched_setaffinity(0, before)
        spinning.kill()
        spinning.wait()
    assert watch.waited > 0.2
    assert watch.processor < 0.8
    assert watch.seconds >= 0.2


@_counts_waiting
def test_a_processor_that_is_free_is_seen():
    for _ in range(500):  # whatever else this machine does, it rests for a thousandth sometimes
        with Watch() as watch:
            _compute(0.001)
        if watch.waited < 0.05:
            return
    raise AssertionError("never free")


def test_a_worker_ends_with_whoever_started_it():
    script = (
        "import sys, time\n"
        "from noether_plugins.comparison.workers import Worker\n"
        "from tests.plugins.comparison.test_timing import _FAKE\n"
        "worker = Worker(longest=1000, command=_FAKE)\n"
        "worker.ask('start', experiment={'attention': {'type': 'hangs'}})\n"
        "worker.send('step', calls=4)\n"
        "print(worker.pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)
    raise AssertionError("it went on")


def test_a_worker_that_is_over_says_so_again():
    with Worker(longest=10, command=_FAKE) as worker:
        with pytest.raises(WorkerError, match="no such luck"):
            worker.ask("start", experiment={"attention": {"type": "fails"}})
        with pytest.raises(WorkerError, match="no such luck"):
            worker.ask("step", calls=4)


def test_real_models_are_measured_in_real_processes():
    names = ("linear", "dot_product")
    limits = Limits(steps=2.0, scaling=16.0, call=0.5, attempts=1)
    found = measure_costs(_entries(*names), report=lambda _: None, rounds=2, limits=limits)
    for name in names:
        cost = found[name]
        assert cost.error == ""
        assert cost.tokens == 8 * (11 + 23)
        assert cost.step.samples + cost.step.dropped == 2
        assert cost.scaling.tokens[:2] == (1024, 2048)
        assert cost.scaling.bytes[0] < cost.scaling.bytes[1]
