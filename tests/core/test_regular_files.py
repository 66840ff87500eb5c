"""Regular files are read, and nothing else: not for a second, and not more than was said."""

import os
import socket
from pathlib import Path

import pytest

from noether_core.regular_files import is_irregular, read_regular


def test_a_file_is_read_as_it_is_and_so_is_what_a_link_leads_to(tmp_path):
    (tmp_path / "file").write_bytes(b"\r\n\x00")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("file", "link"):
        assert read_regular(str(tmp_path / name), 3) == b"\r\n\x00"
        assert not is_irregular(str(tmp_path / name))


def test_more_bytes_than_fit_are_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"1234")
    with pytest.raises(OSError, match="file holds more than 3 bytes"):
        read_regular(str(tmp_path / "file"), 3)


@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "strange"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    with pytest.raises(OSError, match=r"is no regular file|No such device"):
        read_regular(str(path))
    assert is_irregular(str(path))


def test_folders_and_what_is_not_there_are_refused_as_by_open_and_nothing_is_left_open(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(IsADirectoryError):
        read_regular(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        read_regular(str(tmp_path / "missing"))
    assert not is_irregular(str(tmp_path))
    assert not is_irregular(str(tmp_path / "missing"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
