"""The command ``noether run``, from a file to a folder; some of it from its very start."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from safetensors.torch import load_file

from noether_core import load
from noether_plugins.workbench.experiment import Experiment

NOETHER = Path(sysconfig.get_path("scripts")) / "noether"
RUN = {"experiment.yaml", "weights.safetensors", "picture.png", "log.csv", "result.json"}


def test_a_run_writes_its_result_weights_config_and_picture(whole_noether, tiny, tmp_path):
    done = whole_noether("run", tiny)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "tiny"
    assert {file.name for file in folder.iterdir()} == RUN
    assert load(folder / "experiment.yaml", Experiment) == load(tiny, Experiment)
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")

    result = json.loads((folder / "result.json").read_text())
    assert result["steps"] == len(result["losses"]) == 4
    assert not result["interrupted"]
    assert result["provider"].startswith("noether-attention ")
    assert (
        set(result["relative_errors"])
        == set(result["relative_errors_of_mean"])
        == {"surface.pressure", "volume.velocity"}
    )
    assert result["parameters"] > 0
    assert result["seconds_per_step"] > 0
    assert result["step_memory_bytes"] > 2**12
    for text in (
        "relative L2 error",
        "surface.pressure",
        "ms per step",
        "which takes",
        "runs/tiny",
    ):
        assert text in done.stdout


def test_equal_seeds_give_equal_weights_and_others_do_not(noether, tiny, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(tiny.read_text() + "seed: 1\n")
    for name, file in (("a", tiny), ("b", tiny), ("c", other)):
        assert noether("run", file, "--output", name).returncode == 0
    a, b, c = (load_file(tmp_path / name / "weights.safetensors") for name in "abc")
    assert all(a[name].equal(b[name]) for name in a)
    assert not all(a[name].equal(c[name]) for name in a)


def test_a_folder_that_holds_a_run_is_refused_unless_it_may_be_overwritten(noether, tiny, tmp_path):
    assert noether("run", tiny, "--output", "out").returncode == 0
    before = (tmp_path / "out" / "result.json").read_bytes()

    again = noether("run", tiny, "--output", "out")
    assert again.returncode == 1
    assert "out: already holds a run" in again.stderr
    assert "--overwrite" in again.stderr
    assert (tmp_path / "out" / "result.json").read_bytes() == before

    assert noether("run", tiny, "--output", "out", "--overwrite").returncode == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == RUN


def test_without_a_folder_each_run_gets_its_own(noether, tiny, tmp_path):
    from noether_plugins.workbench.outputs import new_folder

    assert [new_folder(tmp_path / "runs" / "tiny").name for _ in range(3)] == [
        "tiny",
        "tiny-2",
        "tiny-3",
    ]
    done = noether("run", "training.steps=2", tiny, "--overwrite", "model.depth=1")
    assert done.returncode == 0, done.stderr
    assert "written to runs/tiny/" in done.stdout
    again = noether("run", "training.steps=2", "--locked", "none.lock", tiny, "seed=7")
    assert "none.lock" in again.stderr
    third = noether("run", tiny, "training.steps=2")
    assert "written to runs/tiny-4/" in third.stdout


def test_a_run_that_fails_leaves_no_folder(noether, tiny, tmp_path):
    done = noether("run", tiny, "memory_limit=0.000001")
    assert done.returncode == 1
    assert not (tmp_path / "runs").exists()


def test_help_says_every_option_of_an_experiment(noether):
    text = noether("run", "--help").stdout
    for line in (
        "attention: required",
        "model.depth: an integer from 1 to 1000; 3 if left out",
        "memory_limit: a number above 0 or None; null if left out",
        "Where to compute; auto takes a GPU where there is one.",
    ):
        assert line in text


def test_a_piped_run_prints_plain_lines_of_progress(whole_noether, tiny):
    lines = whole_noether("run", tiny).stderr.splitlines()
    assert [line for line in lines if line.startswith("step ")][-1].startswith("step 4/4: loss ")
    assert not any("\x1b" in line or "\r" in line for line in lines)


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX's")
def test_a_run_on_a_terminal_shows_a_bar(tiny, tmp_path):
    import pty

    mine, theirs = pty.openpty()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "100"}
    command = [NOETHER, "run", str(tiny)]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while chunk := _read(mine):
        shown += chunk
    assert process.wait(timeout=60) == 0
    assert "\u2501".encode() in shown, "the bar"
    assert b"4/4" in shown
    assert b"step 4/4: loss" not in shown


def _read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end was closed
        return b""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_anything_is_learnt_leaves_nothing(forks, tiny, tmp_path, number):
    tiny.write_text(tiny.read_text().replace("n_train: 6", "n_train: 100000"))
    started = forks.start(["run", "tiny.yaml"], tmp_path)
    started.wait_for("making the samples")
    os.kill(started.pid, number)
    done = started.wait()
    assert done.returncode == 128 + number
    assert "Traceback" not in done.stderr
    assert {entry.name for entry in tmp_path.iterdir()} == {"tiny.yaml"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("depth: 1}", "depth: 1"), "tiny.yaml:3:"),
        (
            ("type: transolver", "type: transolvr"),
            "tiny.yaml:1:19: attention.type: 'transolvr' is not installed",
        ),
        (
            ("num_slices", "num_slice"),
            "attention.num_slice: unknown option of 'transolver'; did you mean 'num_slices'?",
        ),
        (
            ("depth: 1", "depth: 0"),
            "tiny.yaml:2:16: model.depth: expected an integer from 1 to 1000, got 0",
        ),
        (
            ("n_train: 6", "n_train: 6000000000"),
            "task.n_train: expected an integer from 1 to 1000000",
        ),
        (("batch_size: 3", "batch_size: 7"), "training.batch_size: 7 is more than the 6 samples"),
        (
            ("model:", "memory_limit: 0.001\nmodel:"),
            "memory_limit is 0.00 GiB; lower training.batch_size",
        ),
        (("hidden_dim: 8", "hidden_dim: 8000000"), "lower attention.hidden_dim or model.depth"),
        (
            ("num_slices: 3", "num_slices: 3000000000000000000"),
            "lower the sizes of attention or model",
        ),
        (
            ("num_slices: 3", "num_slices: 30000000000000000000"),
            "attention.num_slices: expected an integer of at least 1",
        ),
        (
            ("type: transolver", "use_rope: true, type: dot_product"),
            "attention.num_slices: unknown option",
        ),
        (
            (
                "{type: transolver, hidden_dim: 8, num_heads: 2, num_slices: 3}",
                "{type: dot_product, hidden_dim: 4, num_heads: 2, use_rope: true}",
            ),
            "attention.num_heads: heads of width 2 cannot rotate by 2 coordinates",
        ),
        (
            ("device: cpu", "device: gpu"),
            "training.device: expected 'auto', 'cpu' or 'cuda', got 'gpu'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_bad_input_is_reported_without_a_traceback_and_writes_nothing(
    noether, tiny, tmp_path, change, message
):
    tiny.write_text(tiny.read_text().replace(*change))
    done = noether("run", tiny)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert {entry.name for entry in tmp_path.iterdir()} == {"tiny.yaml"}


def test_a_missing_file_is_reported_by_name(whole_noether):
    done = whole_noether("run", "nowhere.yaml")
    assert done.returncode == 1
    assert "nowhere.yaml: cannot be read: No such file or directory" in done.stderr


def test_a_folder_that_cannot_be_made_is_reported_before_the_work_begins(noether, tiny, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for output in ("file", "file/below", "link"):
        done = noether("run", tiny, "--output", output)
        assert done.returncode == 1
        assert f"{output}: " in done.stderr
        assert "--output" in done.stderr
        assert "making" not in done.stderr
        assert {entry.name for entry in tmp_path.iterdir()} == {"tiny.yaml", "file", "link"}
    assert "names no folder" in noether("run", tiny, "--output", "").stderr


def test_wrong_usage_exits_with_two(noether):
    assert noether("run").returncode == 2


def test_values_of_the_command_line_go_before_those_of_the_file(noether, tiny, tmp_path):
    done = noether(
        "run", tiny, "attention.num_slices=5", "model.depth=2", "seed=3", "--output", "run"
    )
    assert done.returncode == 0, done.stderr
    experiment = json.loads((tmp_path / "run" / "result.json").read_text())["experiment"]
    assert (
        experiment["attention"]["num_slices"],
        experiment["model"]["depth"],
        experiment["seed"],
    ) == (5, 2, 3)
    assert experiment["task"]["n_train"] == 6


def test_problems_of_the_command_line_are_reported_like_those_of_the_file(noether, tiny):
    done = noether("run", tiny, "attention.num_slice=5", "model.depth=none", "sed=3")
    assert done.returncode == 1
    slices = "attention.num_slice: unknown option of 'transolver'; did you mean 'num_slices'?"
    assert done.stderr.splitlines() == [
        f"command line: {slices}",
        "command line: model.depth: expected an integer from 1 to 1000, got 'none'",
        "command line: sed: unknown option of Experiment; did you mean 'seed'?",
    ]
