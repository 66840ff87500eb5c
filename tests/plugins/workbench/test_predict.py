"""The command ``noether predict``."""

import json

import numpy as np
import pytest

EXPERIMENT = """\
attention: {type: transolver, hidden_dim: 8, num_heads: 2, num_slices: 3}
model: {depth: 1}
task:
  type: points
  train: train/*.npz
  test: test/*.npz
  groups: {cloud: {positions: x, inputs: [gain], fields: [pressure]}}
training: {steps: 3, batch_size: 2, device: cpu}
"""


def _write(file, number, *, with_truth=True, n_points=13):
    rng = np.random.default_rng(number)
    arrays = {"x": rng.random((n_points, 3)), "gain": rng.random(n_points)}
    if with_truth:
        arrays["pressure"] = 5 + arrays["x"][:, 0] * arrays["gain"]
    np.savez(file, **arrays)


@pytest.fixture(scope="module")
def home(forks, tmp_path_factory):
    """A folder with a run on points, and files to predict for."""
    home = tmp_path_factory.mktemp("predict")
    for name, count in (("train", 4), ("test", 2)):
        (home / name).mkdir()
        for number in range(count):
            _write(home / name / f"{name}_{number}.npz", number)
    (home / "points.yaml").write_text(EXPERIMENT)
    done = forks.run(["run", "points.yaml", "--output", "run"], home)
    assert done.returncode == 0, done.stderr
    _write(home / "new.npz", 7, with_truth=False)
    (home / "bad.npz").write_bytes(b"bad")
    return home


@pytest.fixture
def predict(forks, home, tmp_path):
    """The command in that folder; predictions go to ``out`` of a folder of each test."""

    def run(*arguments, output=tmp_path / "out"):
        return forks.run(["predict", "run", *arguments, "--output", str(output)], home)

    return run


def _pressure(file):
    with np.load(file) as arrays:
        return arrays["predicted_pressure"]


def test_predictions_are_written_beside_what_a_file_holds(predict, home, tmp_path):
    done = predict("new.npz", "test/test_0.npz", "--metrics")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert f"new.npz: {out}/new.npz" in done.stdout
    assert {file.name for file in out.iterdir()} == {"new.npz", "test_0.npz", "metrics.json"}
    with np.load(out / "new.npz") as made, np.load(home / "new.npz") as given:
        assert made["predicted_pressure"].shape[0] == 13
        assert np.array_equal(made["x"], given["x"])

    metrics = json.loads((out / "metrics.json").read_text())
    error = metrics["files"]["test/test_0.npz"]["cloud.pressure"]
    assert metrics == {
        "relative_errors": {"cloud.pressure": error},
        "files": {"new.npz": {}, "test/test_0.npz": {"cloud.pressure": error}},
    }
    assert f"cloud.pressure: {error:.4f}" in done.stdout


def test_one_bad_file_does_not_lose_the_others(predict, tmp_path):
    done = predict("bad.npz", "nowhere.npz", "new.npz")
    assert done.returncode == 1
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["new.npz"]
    first, second = done.stderr.splitlines()
    assert first.startswith("bad.npz: ")
    assert second.startswith("nowhere.npz: ")
    assert "Traceback" not in done.stderr


def test_nothing_is_written_over_a_file_unasked_and_never_over_an_input(predict, home, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "new.npz").write_text("mine")
    done = predict("new.npz")
    assert done.returncode == 1
    assert "new.npz: is there already; name another folder" in done.stderr
    assert (tmp_path / "out" / "new.npz").read_text() == "mine"
    assert predict("new.npz", "--overwrite").returncode == 0
    assert len(_pressure(tmp_path / "out" / "new.npz")) == 13

    before = (home / "new.npz").read_bytes()
    done = predict("new.npz", "--overwrite", output=".")
    assert done.returncode == 1
    assert "new.npz: is a file to predict for" in done.stderr
    assert (home / "new.npz").read_bytes() == before


def test_two_files_of_one_name_are_refused_before_any_work(predict, home, tmp_path):
    (home / "other").mkdir(exist_ok=True)
    _write(home / "other" / "new.npz", 8)
    done = predict("new.npz", "other/new.npz")
    assert done.returncode == 1
    assert "new.npz and other/new.npz would both be written to" in done.stderr
    assert not (tmp_path / "out").exists()


def test_large_files_are_predicted_in_parts(predict, home, tmp_path):
    assert predict("new.npz").returncode == 0
    assert predict("new.npz", "--at-once", "5", output=tmp_path / "parts").returncode == 0
    whole, parts = (_pressure(tmp_path / name / "new.npz") for name in ("out", "parts"))
    assert whole.shape == parts.shape
    assert not np.array_equal(whole, parts)
    wrong = predict("new.npz", "--at-once", "0")
    assert wrong.returncode == 2
    assert "expected a number of at least 1, got '0'" in wrong.stderr


def test_what_is_no_run_is_refused(forks, home, tmp_path):
    output = str(tmp_path / "out")
    done = forks.run(["predict", "train", "new.npz", "--output", output], home)
    assert done.returncode == 1
    assert "train: holds no run" in done.stderr
    assert not (tmp_path / "out").exists()
