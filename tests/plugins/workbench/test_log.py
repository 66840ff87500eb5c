"""The log of a run."""

import errno
import os

import pytest

from noether_plugins.workbench.log import Events, Log, cut

HEAD = "step,loss,learning_rate,seconds,validation_loss\n"


def _add(log, *steps):
    for step in steps:
        log.add(step, 0.1 * step, 0.002, 0.25 * step, 0.5 if step == 2 else None)


def test_each_step_has_a_line_at_once(tmp_path):
    with Log(tmp_path / "log.csv") as log:
        _add(log, 1, 2)
        lines = (tmp_path / "log.csv").read_text()
        assert lines == f"{HEAD}1,0.1,0.002,0.250,\n2,0.2,0.002,0.500,0.5\n"
        assert log.content().decode() == lines


@pytest.mark.parametrize("torn", ["", "4,0.4", "4,0.4,0.002,1.000,\n5,0.5,0.00"])
def test_a_log_goes_on_behind_the_step_of_a_checkpoint(tmp_path, torn):
    file = tmp_path / "log.csv"
    with Log(file) as log:
        _add(log, 1, 2, 3)
    whole = file.read_text()
    file.write_text(whole + torn)
    cut(file, 2)
    with Log(file) as log:
        _add(log, 3)
    assert file.read_text() == whole


@pytest.mark.parametrize("content", [None, "", HEAD[:7], HEAD])
def test_a_log_without_lines_starts_anew(tmp_path, content):
    file = tmp_path / "log.csv"
    if content is not None:
        file.write_text(content)
    cut(file, 0)
    with Log(file) as log:
        _add(log, 1)
    assert file.read_text() == f"{HEAD}1,0.1,0.002,0.250,\n"


class _Full:
    """A file on a disk with little room."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, content):
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self.file.write(content[: self.room])
        self.room -= written
        return written

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_lines_that_find_no_room_wait_until_there_is(tmp_path):
    file = tmp_path / "log.csv"
    with Log(file) as log:
        _add(log, 1)
        log._handle = _Full(log._handle, room=5)
        _add(log, 2, 3)
        with pytest.raises(OSError, match="No space left"):
            log.sync()
        log._handle.room = 1000
        _add(log, 4)
        log.sync()
    assert [line.partition(",")[0] for line in file.read_text().splitlines()] == ["step", *"1234"]


def test_a_log_whose_file_is_gone_still_has_its_lines(tmp_path):
    with Log(tmp_path / "log.csv") as log:
        _add(log, 1)
        (tmp_path / "log.csv").unlink()
        _add(log, 2)
        assert log.content().count(b"\n") == 3


@pytest.mark.skipif(not Events.is_installed(), reason="needs tensorboard")
def test_tensorboard_finds_the_steps_and_none_twice(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Events(tmp_path, steps_done=0) as events:
        for step in (1, 2, 3):
            events.add(step, {"loss": float(step), "validation_loss": None})
    with Events(tmp_path, steps_done=2) as events:
        events.add(3, {"loss": 3.0})
    found = EventAccumulator(str(tmp_path)).Reload()
    assert found.Tags()["scalars"] == ["loss"]
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [
        (1, 1.0),
        (2, 2.0),
        (3, 3.0),
    ]
