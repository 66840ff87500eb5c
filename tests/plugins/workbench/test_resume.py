"""Runs that are stopped, and go on: to the same numbers, whatever stopped them, and when."""

import csv
import json
import os
import random
import signal
import sys
import time
from contextlib import suppress

import pytest
from safetensors.torch import load_file

from noether_core.cli import main
from noether_plugins.workbench import load_run
from tests.sampling import sampled

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")

# All that a training keeps from step to step: dropout draws from torch's generator.
EXPERIMENT = """\
attention: {type: transolver, hidden_dim: 8, num_heads: 2, num_slices: 3, dropout: 0.1}
model: {depth: 1}
task: {type: airfoil, n_train: 7, n_test: 2, n_surface: 11, n_volume: 211}
training:
  {steps: 30, batch_size: 3, device: cpu, checkpoint_every: 5 steps, ema: 0.9, validation: 0.3,
   validate_every: 7 steps}
"""

SECONDS = 1.0
"""About as long as such a run takes once it is imported."""

KILLS = 30


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(EXPERIMENT)
    return file


@pytest.fixture(scope="module")
def whole(forks, tmp_path_factory):
    """The folder of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "small.yaml").write_text(EXPERIMENT)
    done = forks.run(["run", "small.yaml", "--output", "run"], folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def _result(folder):
    return json.loads((folder / "result.json").read_text())


def _log(folder):
    """Return the log without its times."""
    rows = list(csv.DictReader((folder / "log.csv").read_text().splitlines()))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def _assert_same(folder, whole):
    for name in ("losses", "validation_losses", "relative_errors", "best_step", "steps"):
        assert _result(folder)[name] == _result(whole)[name], name
    assert not _result(folder)["interrupted"]
    assert _log(folder) == _log(whole)
    weights, expected = (load_file(each / "weights.safetensors") for each in (folder, whole))
    assert weights.keys() == expected.keys()
    assert all(weights[name].equal(expected[name]) for name in expected)
    assert sorted(each.name for each in folder.iterdir()) == sorted(
        each.name for each in whole.iterdir()
    )


def _start(forks, file, *arguments, **options):
    words = ["run", file.name, "--output", "run", *arguments]
    return forks.start(words, file.parent, **options)


def _stop(forks, file, number, step, *arguments):
    """Start a run and stop it behind a step; return how it ended."""
    started = _start(forks, file, *arguments)
    started.wait_for(f"step {step}/")
    os.kill(started.pid, number)
    return started.wait()


def test_a_run_that_is_killed_at_any_moment_goes_on_to_the_same_numbers(
    forks, file, whole, tmp_path
):
    _assert_killed_runs_go_on(forks, file, whole, kills=4)


@pytest.mark.nightly
def test_a_run_that_is_killed_at_thirty_moments_goes_on_to_the_same_numbers(
    forks, file, whole, tmp_path
):
    n_gone_on = _assert_killed_runs_go_on(forks, file, whole, kills=KILLS)
    assert n_gone_on >= KILLS // 4, "a kill before the first checkpoint proves little"


def _assert_killed_runs_go_on(forks, file, whole, *, kills):
    moments = random.Random(kills)
    numbers = [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL]
    n_stopped, n_gone_on = 0, 0
    for kill in range(100 * kills):
        started = _start(forks, file, "--resume")
        time.sleep(moments.uniform(0, SECONDS))
        number = numbers[kill % len(numbers)]
        with suppress(ProcessLookupError):  # it may be over by now
            os.kill(started.pid, number)
        done = started.wait()
        assert "Traceback" not in done.stderr, done.stderr
        n_gone_on += "going on behind step" in done.stderr
        if done.returncode == 0:
            _assert_same(file.parent / "run", whole)
            (file.parent / "run").rename(file.parent / f"run-{kill}")
            continue
        expected = -number if number == signal.SIGKILL else 128 + number
        assert done.returncode in (expected, -number), done.stderr  # -number: while it started
        n_stopped += 1
        if n_stopped == kills:
            break
    assert n_stopped == kills

    done = _start(forks, file, "--resume").wait()
    assert done.returncode == 0, done.stderr
    _assert_same(file.parent / "run", whole)
    return n_gone_on


@pytest.mark.parametrize("number", sampled([signal.SIGTERM, signal.SIGHUP], signal.SIGTERM))
def test_a_signal_saves_the_step_that_it_found_and_ends_with_its_status(
    forks, file, whole, tmp_path, number
):
    file.write_text(EXPERIMENT.replace("5 steps", "1 hour"))
    done = _stop(forks, file, number, 6)
    assert done.returncode == 128 + number
    assert "Traceback" not in done.stderr
    assert [each.name for each in (tmp_path / "run").iterdir()] == ["unfinished"]

    refused = _start(forks, file).wait()
    assert refused.returncode == 1
    assert "run: holds an unfinished run; go on with it with --resume" in refused.stderr

    shown = forks.run(["show", "run"], tmp_path)
    assert "not over: " in shown.stdout
    assert " of 30 steps at the last checkpoint" in shown.stdout

    done = _start(forks, file, "--resume", "training.checkpoint_every=5 steps").wait()
    assert done.returncode == 0, done.stderr
    assert "going on behind step " in done.stderr
    _assert_same(tmp_path / "run", whole)


def test_a_run_that_ctrl_c_ended_is_written_and_can_go_on(forks, file, whole, tmp_path):
    file.write_text(EXPERIMENT.replace("5 steps", "1 hour"))
    done = _stop(forks, file, signal.SIGINT, 6)
    assert done.returncode == 130, done.stderr
    assert "interrupted after" in done.stdout
    result = _result(tmp_path / "run")
    assert result["interrupted"]
    assert 6 <= result["steps"] == len(result["losses"]) < 30
    assert result["relative_errors"].keys() == {"surface.pressure", "volume.velocity"}
    assert len(_log(tmp_path / "run")) == result["steps"]
    assert (tmp_path / "run" / "picture.png").exists()

    refused = _start(forks, file).wait()
    assert "run: already holds a run" in refused.stderr

    done = _start(forks, file, "--resume").wait()
    assert done.returncode == 0, done.stderr
    _assert_same(tmp_path / "run", whole)

    again = _start(forks, file, "--resume").wait()
    assert again.returncode == 0
    assert "run/ is complete: there is nothing to go on with" in again.stdout


def test_a_second_ctrl_c_keeps_the_last_checkpoint(forks, file, tmp_path):
    file.write_text(EXPERIMENT.replace("steps: 30", "steps: 100000"))
    started = _start(forks, file)
    started.wait_for("step 1/")
    while not (tmp_path / "run" / "unfinished" / "checkpoint.safetensors").exists():
        time.sleep(0.002)
    for _ in range(20):  # more than can be waited for
        os.kill(started.pid, signal.SIGINT)
    done = started.wait()
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "run" / "unfinished" / "checkpoint.safetensors").exists()


def test_another_experiment_does_not_go_on_from_this_one(forks, file, tmp_path):
    assert _stop(forks, file, signal.SIGTERM, 6).returncode == 143
    changes = ("training.steps=70", "attention.num_slices=4", "seed=2", "memory_limit=100")
    done = _start(forks, file, "--resume", *changes).wait()
    assert done.returncode == 1
    assert "run: is a run of another experiment" in done.stderr
    lines = [line.strip() for line in done.stderr.splitlines()]
    for line in (
        "attention.num_slices: 3 there, 4 here",
        "seed: 0 there, 2 here",
        "training.steps: 30 there, 70 here",
    ):
        assert line in lines
    assert "memory_limit" not in done.stderr
    assert "step " not in done.stderr


def test_a_damaged_checkpoint_is_refused_as_that(forks, file, tmp_path):
    assert _stop(forks, file, signal.SIGTERM, 6).returncode == 143
    checkpoint = tmp_path / "run" / "unfinished" / "checkpoint.safetensors"
    content = bytearray(checkpoint.read_bytes())
    content[-1000] ^= 1
    checkpoint.write_bytes(content)
    done = _start(forks, file, "--resume").wait()
    assert done.returncode == 1
    assert "checkpoint.safetensors: is damaged" in done.stderr
    assert "begin anew with --overwrite" in done.stderr
    assert _start(forks, file, "--overwrite", "training.steps=2").wait().returncode == 0


def test_a_full_disk_ends_no_training_and_its_run_goes_on_later(forks, file, whole, tmp_path):
    changes = ("training.steps=6", "training.checkpoint_every=2 steps")
    done = _start(forks, file, *changes, largest_file=4096).wait()
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("no checkpoint was written: [Errno 27]") == 1
    assert "step 6/6" in done.stderr
    assert "run: cannot be written: File too large" in done.stderr
    assert not (tmp_path / "run").exists(), "nothing was kept, and so nothing is left"

    assert _stop(forks, file, signal.SIGTERM, 6).returncode == 143
    done = _start(forks, file, "--resume", largest_file=4096).wait()
    assert done.returncode == 1
    assert "what was learnt is kept in run/unfinished: go on with --resume" in done.stderr
    done = _start(forks, file, "--resume").wait()
    assert done.returncode == 0, done.stderr
    _assert_same(tmp_path / "run", whole)


def test_a_run_whose_output_nobody_reads_goes_on(forks, file, tmp_path):
    done = _start(forks, file, "training.steps=3", closed=True).wait()
    assert done.returncode == 0
    assert _result(tmp_path / "run")["steps"] == 3


@pytest.mark.parametrize("what", ["run.evaluate", "run._Work._picture"])
def test_ctrl_c_while_a_run_is_looked_at_still_writes_what_was_learnt(
    file, tmp_path, monkeypatch, capsys, what
):
    def interrupt(*_):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(f"noether_plugins.workbench.{what}", interrupt)
        assert main(["run", "small.yaml", "training.steps=3", "--output", "run"]) == 130
    result = _result(tmp_path / "run")
    assert result["interrupted"]
    assert result["steps"] == 3
    assert bool(result["relative_errors"]) == (what != "run.evaluate")
    assert load_run("run").result["steps"] == 3
    assert not (tmp_path / "run" / "picture.png").exists()

    assert main(["run", "small.yaml", "training.steps=3", "--output", "run", "--resume"]) == 0
    after = _result(tmp_path / "run")
    assert not after["interrupted"]
    assert after["losses"] == result["losses"]
    assert after["relative_errors"].keys() == {"surface.pressure", "volume.velocity"}
    assert (tmp_path / "run" / "picture.png").exists()


def test_without_a_folder_the_last_unfinished_run_of_the_file_goes_on(forks, file, tmp_path):
    def run(*arguments):
        return forks.run(["run", "small.yaml", "training.steps=2", *arguments], tmp_path)

    started = run("--resume")
    assert "written to runs/small/" in started.stdout
    assert "runs/small/ is complete" in run("--resume").stdout
    assert "written to runs/small-2/" in run("--resume", "seed=1").stdout, "another experiment"

    started = forks.start(["run", "small.yaml"], tmp_path)
    started.wait_for("step 6/")
    os.kill(started.pid, signal.SIGTERM)
    assert started.wait().returncode == 143
    done = forks.run(["run", "small.yaml", "--resume"], tmp_path)
    assert "written to runs/small-3/" in done.stdout, done.stderr


def test_going_on_and_beginning_anew_exclude_each_other(forks, file, tmp_path):
    done = forks.run(["run", "small.yaml", "--resume", "--overwrite"], tmp_path)
    assert done.returncode == 2
    assert "not allowed with" in done.stderr
