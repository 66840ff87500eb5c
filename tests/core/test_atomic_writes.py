"""Files and folders are written whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from noether_core.atomic_writes import publish_folder, replacing, staged_folder, write_whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("content", ["naïve\n", b"\x00\xff", "", "a\r\nb\n"])
def test_what_is_written_is_read_back_byte_by_byte(tmp_path, content):
    write_whole(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == (
        content.encode() if isinstance(content, str) else content
    )
    assert names(tmp_path) == ["file"]


def test_an_older_file_is_replaced_at_once(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as reader:
        write_whole(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_whole(path, "new")
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o755, 0o400])
def test_the_permissions_of_the_older_file_are_kept(tmp_path, mode):
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    write_whole(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "file", "new")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


def test_a_link_stays_a_link_to_the_file_that_is_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_whole(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_name_without_folder_is_written_where_we_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_whole("file", "new")
    assert names(tmp_path) == ["file"]


def test_a_missing_folder_is_reported_under_the_name_that_was_asked_for(tmp_path):
    path = tmp_path / "missing" / "file"
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(path, "new")
    assert caught.value.filename == str(path)
    assert names(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to_is_reported(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError) as caught:
        write_whole(tmp_path / "file", "new")
    assert caught.value.filename == str(tmp_path / "file")


def test_a_folder_in_the_place_of_the_file_is_reported_and_left(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_whole(tmp_path / "folder", "new")
    assert caught.value.filename == str(tmp_path / "folder")
    assert names(tmp_path) == ["folder"]


def test_a_pipe_is_written_to_and_never_replaced(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(path, "new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_file_is_written_piece_by_piece_and_seen_as_a_whole(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as file:
        file.write(b"new ")
        file.flush()
        assert path.read_text() == "old"
        file.write(b"content")
    assert path.read_text() == "new content"
    assert names(tmp_path) == ["file"]


def test_what_goes_wrong_between_the_pieces_leaves_the_older_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def pieces():
        yield b"new"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.writelines(pieces())
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def leave_behind(folder):
    """Leave what a killed process leaves: its hidden file, whose lock ended with it."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=".noether.part")
    os.close(handle)
    return Path(name).name


def test_what_killed_processes_left_is_removed_by_the_next_one_that_writes_there(tmp_path):
    for _ in range(3):
        leave_behind(tmp_path)
    (tmp_path / ".hidden").touch()
    (tmp_path / "seen.noether.part").touch()
    write_whole(tmp_path / "file", "new")
    assert names(tmp_path) == [".hidden", "file", "seen.noether.part"]


def test_what_is_being_written_is_not_taken_for_left(tmp_path):
    with replacing(tmp_path / "first") as file:
        file.write(b"first")
        write_whole(tmp_path / "second", "second")
    assert (tmp_path / "first").read_text() == "first"
    assert names(tmp_path) == ["first", "second"]


def test_any_number_of_threads_may_write_to_one_folder(tmp_path):
    def write(number):
        for _ in range(30):
            write_whole(tmp_path / f"file{number % 2}", str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert names(tmp_path) == ["file0", "file1"]
    assert (tmp_path / "file1").read_text() in {"1", "3", "5", "7"}


def test_a_hidden_file_that_was_removed_before_it_was_locked_is_made_anew(tmp_path, monkeypatch):
    made = []
    real = os.open

    def make(path, flags, *mode):
        handle = real(path, flags, *mode)
        if flags & os.O_EXCL:
            made.append(path)
            if len(made) == 1:
                Path(path).unlink()
        return handle

    monkeypatch.setattr(os, "open", make)
    write_whole(tmp_path / "file", "new")
    assert len(made) == 2
    assert (tmp_path / "file").read_text() == "new"


def test_where_files_cannot_be_locked_they_are_written_and_nothing_is_removed(
    tmp_path, monkeypatch
):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    left = leave_behind(tmp_path)
    write_whole(tmp_path / "file", "new")
    assert names(tmp_path) == [left, "file"]


def test_no_file_stays_open(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        leave_behind(tmp_path)
        write_whole(tmp_path / "file", "new")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def write_run(folder, text):
    for name in ("config", "result", "weights"):
        (Path(folder) / name).write_text(text)


@pytest.fixture
def run(tmp_path):
    """Return the folder of an older run, which holds a file of somebody else as well."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_run(folder, "old")
    (folder / "notes").write_text("mine")
    return folder


NEW = {"config": "new", "result": "new", "weights": "new"}
OLD = {"config": "old", "result": "old", "weights": "old"}


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_that_is_missing_or_empty_becomes_the_staged_one_at_once(tmp_path, is_there):
    folder = tmp_path / "run"
    if is_there:
        folder.mkdir()
    with staged_folder(folder, last="result") as stage:
        write_run(stage, "new")
        assert folder.exists() == is_there
        assert not (folder / "config").exists()
    assert contents(folder) == NEW
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_folder_has_the_permissions_of_any_new_folder(tmp_path, mask):
    before = os.umask(mask)
    try:
        with staged_folder(tmp_path / "run", last="result") as stage:
            write_run(stage, "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o777 & ~mask


def test_files_of_an_older_folder_are_replaced_and_others_stay(run, tmp_path):
    with staged_folder(run, last="result") as stage:
        write_run(stage, "new")
        assert contents(run) == OLD | {"notes": "mine"}
    assert contents(run) == NEW | {"notes": "mine"}
    assert names(tmp_path) == ["run"]


def test_a_link_to_a_folder_stays_one(run, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(run)
    with staged_folder(link, last="result") as stage:
        write_run(stage, "new")
    assert link.is_symlink()
    assert contents(run) == NEW | {"notes": "mine"}


def test_a_block_that_fails_leaves_the_older_folder_and_nothing_else(run, tmp_path):
    def fail_with_half_a_run():
        with staged_folder(run, last="result") as stage:
            (Path(stage) / "config").write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_with_half_a_run()
    assert contents(run) == OLD | {"notes": "mine"}
    assert names(tmp_path) == ["run"]


def test_a_folder_without_its_last_file_is_not_published(run, tmp_path):
    def publish_half_a_run():
        with staged_folder(run, last="result") as stage:
            (Path(stage) / "config").write_text("new")

    with pytest.raises(FileNotFoundError):
        publish_half_a_run()
    assert contents(run) == OLD | {"notes": "mine"}
    assert names(tmp_path) == ["run"]


def steps_on_disk(monkeypatch):
    """Return a list that grows by what is done to the disk, in order."""
    steps = []

    def note(verb, path):
        steps.append((verb, Path(path).name))

    def sync(handle):
        note("sync", Path(f"/proc/self/fd/{handle}").readlink())

    real_replace, real_unlink = os.replace, os.unlink
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", lambda a, b: (note("move", b), real_replace(a, b)))
    monkeypatch.setattr(os, "unlink", lambda path: (note("remove", path), real_unlink(path)))
    return steps


def test_the_last_file_goes_first_and_comes_last_on_the_disk_too(run, tmp_path, monkeypatch):
    stage = tmp_path / "stage"
    stage.mkdir()
    write_run(stage, "new")
    steps = steps_on_disk(monkeypatch)
    publish_folder(stage, run, last="result")
    assert steps == [
        ("sync", "config"),
        ("sync", "weights"),
        ("sync", "result"),
        ("remove", "result"),
        ("sync", "run"),
        ("move", "config"),
        ("move", "weights"),
        ("sync", "run"),
        ("move", "result"),
        ("sync", "run"),
    ]


@pytest.mark.parametrize("moved", range(3))
def test_while_files_are_replaced_there_is_no_last_one(run, monkeypatch, moved):
    real, left = os.replace, list(range(moved))

    def replace(one, other):
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        left.pop()
        real(one, other)

    def publish():
        with staged_folder(run, last="result") as stage:
            write_run(stage, "new")

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="No space left"):
        publish()
    assert "result" not in contents(run)


def test_a_staged_folder_of_a_killed_process_is_removed_by_the_next_one(tmp_path):
    left = Path(tempfile.mkdtemp(dir=tmp_path, prefix=".run-", suffix=".noether.part"))
    write_run(left, "lost")
    with staged_folder(tmp_path / "run", last="result") as stage:
        write_run(stage, "new")
        with staged_folder(tmp_path / "other", last="result") as beside:
            write_run(beside, "other")
        write_whole(tmp_path / "file", "new")
    assert names(tmp_path) == ["file", "other", "run"]
    assert contents(tmp_path / "run") == NEW


def test_no_folder_stays_open(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with staged_folder(tmp_path / "run", last="result") as stage:
            write_run(stage, "new")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
