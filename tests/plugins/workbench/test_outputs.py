"""The folder of a run, whole or as it was."""

import errno
import os
from pathlib import Path

import pytest

from noether_plugins.workbench.outputs import RESULT, OutputError, staged

FILES = ("experiment.yaml", "weights.safetensors", "flow.png", "result.json")


def _fill(stage, text="new"):
    for name in FILES:
        (stage / name).write_text(text)


def _publish(folder, text):
    with staged(folder, overwrite=True) as stage:
        _fill(stage, text)


def _fail_in(folder):
    with staged(folder, overwrite=True) as stage:
        _fill(stage)
        raise KeyError("training")


def test_a_run_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyError):
        _fail_in(tmp_path / "deep" / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_leaves_the_older_one_as_it_was(tmp_path):
    folder = tmp_path / "run"
    _publish(folder, "old")
    with pytest.raises(KeyError):
        _fail_in(folder)
    assert {file.read_text() for file in folder.iterdir()} == {"old"}
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("n_moved", range(len(FILES)))
def test_an_old_result_is_gone_before_the_first_file_of_another_run_comes(
    tmp_path, monkeypatch, n_moved
):
    folder = tmp_path / "run"
    _publish(folder, "old")
    moved, replace = [], os.replace

    def replace_some(source, target):
        if len(moved) == n_moved:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(source, target)
        moved.append(target)

    monkeypatch.setattr(os, "replace", replace_some)
    with pytest.raises(OutputError, match="run: cannot be written: Input/output error"):
        _publish(folder, "new")
    assert not (folder / RESULT).exists()


def test_the_result_of_a_run_comes_last(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    _publish(folder, "old")
    moved, replace = [], os.replace

    def replace_and_keep(source, target):
        moved.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_and_keep)
    _publish(folder, "new")
    assert sorted(moved) == sorted(FILES)
    assert moved[-1] == RESULT
    assert {file.read_text() for file in folder.iterdir()} == {"new"}


def test_a_disk_that_fills_up_is_reported_as_what_it_is(tmp_path):
    message = "run: cannot be written: No space left on device; name another folder"
    with (
        pytest.raises(OutputError, match=message),
        staged(tmp_path / "run", overwrite=False),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_other_files_of_the_folder_stay(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with staged(tmp_path / "run", overwrite=False) as stage:
        _fill(stage)
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    with (
        pytest.raises(OutputError, match="already holds a run"),
        staged(tmp_path / "run", overwrite=False),
    ):
        pass
