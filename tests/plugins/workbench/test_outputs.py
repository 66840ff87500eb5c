"""The folder of a run: kept by one process, and a run in it whole or as it was."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from noether_core.atomic_writes import lock_folder
from noether_plugins.workbench.outputs import (
    FINISHED,
    RESULT,
    UNFINISHED,
    OutputError,
    TakenError,
    kept,
    latest_folder,
    new_folder,
)


def _contents(folder):
    return {file.name: file.read_text() for file in folder.iterdir() if file.is_file()}


def _of(text, names=FINISHED):
    return dict.fromkeys(names, text)


def _publish(folder, text, *, overwrite=True, is_over=True, names=FINISHED):
    with kept(folder, overwrite=overwrite, resume=False) as place:
        place.begin()
        return _publish_in(place, text, is_over=is_over, names=names)


def _publish_in(place, text, *, is_over=True, names=FINISHED):
    stage = place.new_stage()
    for name in names:
        (stage / name).write_text(text)
    return place.publish(stage, is_over=is_over)


def _fail_in(folder):
    with kept(folder, overwrite=True, resume=False) as place:
        (place.begin() / "log.csv").write_text("step")
        (place.new_stage() / "log.csv").write_text("new")
        raise KeyError("training")


@pytest.fixture
def older(tmp_path):
    """The folder of an older run, which holds a file of somebody else as well."""
    folder = tmp_path / "run"
    _publish(folder, "old")
    (folder / "notes.txt").write_text("mine")
    return folder


def test_a_published_run_is_its_files_and_nothing_else(tmp_path):
    assert _publish(tmp_path / "deep" / "run", "new") == tmp_path / "deep" / "run"
    assert _contents(tmp_path / "deep" / "run") == _of("new")
    assert not (tmp_path / "deep" / "run" / UNFINISHED).exists()


def test_a_run_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyError):
        _fail_in(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_leaves_the_older_one_as_it_was(older):
    with pytest.raises(KeyError):
        _fail_in(older)
    assert _contents(older) == _of("old") | {"notes.txt": "mine"}
    assert not (older / UNFINISHED).exists()


def test_files_of_an_older_run_are_replaced_or_removed_and_others_stay(older):
    (older / "events.out.tfevents.1").write_text("old")
    names = [name for name in FINISHED if name != "picture.png"]
    _publish(older, "new", names=names)
    assert _contents(older) == _of("new", names) | {"notes.txt": "mine"}


def test_a_folder_that_holds_a_run_is_refused_unless_it_may_be_overwritten(older):
    with (
        pytest.raises(OutputError, match=r"run: already holds a run; name another .* --overwrite"),
        kept(older, overwrite=False, resume=False),
    ):
        pass


@pytest.mark.parametrize("n_placed", range(len(FINISHED)))
def test_a_failure_while_publishing_leaves_the_older_run_whole_and_the_new_one_findable(
    older, monkeypatch, n_placed
):
    placed, replace = [], Path.replace

    def replace_some(source, target):
        if Path(target).parent == older:
            if len(placed) == n_placed:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            placed.append(target)
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", replace_some)
    with pytest.raises(OSError, match="Input/output error"):
        _publish(older, "new")
    assert len(placed) == n_placed
    assert _contents(older) == _of("old") | {"notes.txt": "mine"}
    assert _contents(older / UNFINISHED / "run") == _of("new")


@pytest.mark.parametrize("n_placed", range(1 + len(FINISHED)))
def test_the_next_run_puts_an_older_one_back_whose_place_a_killed_one_was_taking(
    older, monkeypatch, n_placed
):
    placed, replace = [], Path.replace

    def stop_before(source, target):
        if Path(target).parent == older:
            if len(placed) == n_placed:
                raise KeyboardInterrupt
            placed.append(target)
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", stop_before)
    monkeypatch.setattr("noether_plugins.workbench.outputs._restore", lambda *_: None)
    monkeypatch.setattr("noether_plugins.workbench.outputs._remove_leftovers", lambda *_: None)
    if n_placed == len(FINISHED):
        monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
        _publish(older, "new")
    else:
        with pytest.raises(KeyboardInterrupt):
            _publish(older, "new")
    monkeypatch.undo()

    with kept(older, overwrite=True, resume=False):
        pass
    text = "new" if n_placed == len(FINISHED) else "old"
    assert _contents(older) == _of(text) | {"notes.txt": "mine"}


def test_the_result_goes_first_and_comes_last_on_the_disk_too(older, monkeypatch):
    steps = []
    replace, unlink, sync = Path.replace, Path.unlink, os.fsync

    def note(verb, path):
        if Path(path).parent == older or Path(path) == older:
            steps.append((verb, Path(path).name))

    def note_replace(source, target):
        note("place", target)
        return replace(source, target)

    def note_unlink(path, **options):
        if path.exists():
            note("remove", path)
        unlink(path, **options)

    def note_sync(handle):
        note("sync", Path(f"/proc/self/fd/{handle}").readlink())
        sync(handle)

    monkeypatch.setattr(Path, "replace", note_replace)
    monkeypatch.setattr(Path, "unlink", note_unlink)
    monkeypatch.setattr(os, "fsync", note_sync)
    _publish(older, "new")
    assert steps[:2] == [("remove", RESULT), ("sync", "run")]
    assert [name for verb, name in steps[2:-3]] == sorted(set(FINISHED) - {RESULT})
    assert steps[-3:] == [("sync", "run"), ("place", RESULT), ("sync", "run")]


def test_a_folder_is_kept_by_one_run_at_a_time(tmp_path):
    with kept(tmp_path / "run", overwrite=False, resume=False) as place:
        place.begin()
        for options in ({"overwrite": True}, {"resume": True}, {}):
            with (
                pytest.raises(OutputError, match="run: another run is at work there; wait for it"),
                kept(tmp_path / "run", **{"overwrite": False, "resume": False, **options}),
            ):
                pass
    handle = lock_folder(tmp_path)
    assert handle is not None
    os.close(handle)


def test_a_run_that_came_meanwhile_is_not_replaced_and_this_one_is_kept_aside(tmp_path):
    folder = tmp_path / "run"
    with kept(folder, overwrite=False, resume=False) as place:
        place.begin()
        for name in FINISHED:  # by whoever has no locks
            (folder / name).write_text("other")
        with pytest.raises(TakenError, match=r"run: holds another run now.*kept in .*run-2") as e:
            _publish_in(place, "new")
    assert _contents(folder) == _of("other")
    assert e.value.kept == tmp_path / "run-2"
    assert _contents(tmp_path / "run-2") == _of("new")
    assert not (folder / UNFINISHED).exists()


def test_only_the_run_that_was_there_is_overwritten(older, tmp_path):
    with kept(older, overwrite=True, resume=False) as place:
        place.begin()
        (older / RESULT).write_text("another one")
        with pytest.raises(TakenError):
            _publish_in(place, "new")
    assert (older / RESULT).read_text() == "another one"
    assert _contents(tmp_path / "run-2") == _of("new")


def test_a_folder_that_somebody_removed_is_made_again(tmp_path):
    with kept(tmp_path / "run", overwrite=False, resume=False) as place:
        place.begin()
        shutil.rmtree(tmp_path / "run")
        assert not place.is_kept
        with pytest.raises(OSError, match="removed or replaced"):
            place.check_kept()
        assert _publish_in(place, "new") == tmp_path / "run"
    assert _contents(tmp_path / "run") == _of("new")


def test_a_folder_that_another_run_made_anew_is_left_alone(tmp_path):
    with kept(tmp_path / "run", overwrite=False, resume=False) as place:
        place.begin()
        shutil.rmtree(tmp_path / "run")
        with kept(tmp_path / "run", overwrite=False, resume=False) as theirs:
            theirs.begin()
            with pytest.raises(TakenError):
                _publish_in(place, "new")
            _publish_in(theirs, "theirs")
    assert _contents(tmp_path / "run") == _of("theirs")
    assert _contents(tmp_path / "run-2") == _of("new")


def test_what_an_interrupted_run_goes_on_from_stays_beside_it(tmp_path):
    folder = tmp_path / "run"
    with kept(folder, overwrite=False, resume=False) as place:
        place.begin()
        place.checkpoint.write_text("state")
        _publish_in(place, "new", is_over=False)
    assert _contents(folder) == _of("new")
    assert _contents(folder / UNFINISHED) == {"checkpoint.safetensors": "state"}

    with kept(folder, overwrite=False, resume=True) as place:
        _publish_in(place, "whole")
    assert _contents(folder) == _of("whole")
    assert not (folder / UNFINISHED).exists()


def test_an_unfinished_run_is_not_begun_anew_unasked(tmp_path):
    with kept(tmp_path / "run", overwrite=False, resume=False) as place:
        place.begin()
        place.checkpoint.write_text("state")
    with (
        pytest.raises(OutputError, match=r"holds an unfinished run; .*--resume.*--overwrite"),
        kept(tmp_path / "run", overwrite=False, resume=False),
    ):
        pass
    with kept(tmp_path / "run", overwrite=True, resume=False) as place:
        assert place.checkpoint.exists(), "until the new run begins"
        place.begin()
        assert not place.checkpoint.exists()


def test_a_file_system_without_links_gets_copies(older, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    _publish(older, "new")
    assert _contents(older) == _of("new") | {"notes.txt": "mine"}


def test_the_latest_folder_is_that_of_the_last_unfinished_run(tmp_path):
    wanted = tmp_path / "runs" / "small"
    assert latest_folder(wanted) is None
    folders = [new_folder(wanted) for _ in range(3)]
    assert [folder.name for folder in folders] == ["small", "small-2", "small-3"]
    for time, folder in enumerate(folders):
        (folder / RESULT).write_text("{}")
        os.utime(folder / RESULT, (time, time))
    assert latest_folder(wanted) == folders[2]

    (folders[1] / UNFINISHED).mkdir()
    (folders[1] / UNFINISHED / "checkpoint.safetensors").touch()
    other = new_folder(tmp_path / "runs" / "small-er")
    (other / UNFINISHED).mkdir()
    (other / UNFINISHED / "checkpoint.safetensors").touch()
    assert latest_folder(wanted) == folders[1]


def test_no_folder_stays_open(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        _publish(tmp_path / "run", "new")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
