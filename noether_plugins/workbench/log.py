"""The log of a run: what each step gave, a line each, as a table and for TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Self

from noether_core.atomic_writes import write_whole

_COLUMNS = ("step", "loss", "learning_rate", "seconds", "validation_loss")


class Log:
    """A table in a file that grows by a line with each step.

    What cannot be written, since the disk is full, waits until it can: no line is lost or halved.

    Args:
        file: The file, new or as `cut` left it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._handle: BinaryIO | None = None
        self._size = file.stat().st_size if file.exists() else 0
        self._waiting = b"" if self._size else _line(_COLUMNS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            with suppress(OSError):
                self._handle.close()

    def add(
        self,
        step: int,
        loss: float,
        learning_rate: float,
        seconds: float,
        validation_loss: float | None,
    ) -> None:
        """Add the line of a step.

        Args:
            step: The step, from 1.
            loss: Its loss, before the update.
            learning_rate: That of its update.
            seconds: Time of all steps so far.
            validation_loss: The loss on samples kept aside; None where it was not computed.
        """
        validated = "" if validation_loss is None else repr(validation_loss)
        values = (str(step), repr(loss), f"{learning_rate:.6g}", f"{seconds:.3f}", validated)
        self._waiting += _line(values)
        with suppress(OSError):
            self._write()

    def sync(self) -> None:
        """Wait until all lines are on the disk.

        Raises:
            OSError: If one cannot be written.
        """
        self._write()
        if self._handle is not None:
            os.fsync(self._handle.fileno())

    def content(self) -> bytes:
        """Return all lines, wherever the file is by now.

        Raises:
            OSError: If they cannot be read.
        """
        if self._handle is None:
            return self._waiting
        self._handle.seek(0)
        return self._handle.read(self._size) + self._waiting

    def _write(self) -> None:
        if self._handle is None:
            self._handle = open(self._file, "a+b", buffering=0)  # noqa: SIM115, PTH123  for as long as the run lasts
        while self._waiting:
            try:
                written = self._handle.write(self._waiting) or 0
            except OSError:
                with suppress(OSError):
                    self._handle.truncate(self._size)
                raise
            self._waiting = self._waiting[written:]
            self._size += written


def _line(values: tuple[str, ...]) -> bytes:
    return (",".join(values) + "\n").encode()


def cut(file: Path, steps: int) -> None:
    """Take the lines behind a step out of the file of a log, and one that is not whole.

    Raises:
        OSError: If the file cannot be written.
    """
    try:
        lines = file.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return
    kept = [line for line in lines[1:] if line.endswith(b"\n") and _step(line) <= steps]
    write_whole(file, b"".join([*lines[:1], *kept]) if kept else b"")


def _step(line: bytes) -> float:
    number = line.partition(b",")[0]
    return int(number) if number.isdigit() else float("inf")


class Events:
    """The same for TensorBoard, in files beside the table.

    What cannot be written is passed over: the table has it all.

    Args:
        folder: Where the files are.
        steps_done: Steps that are in them already; what comes behind is taken back.
    """

    def __init__(self, folder: Path, *, steps_done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=steps_done + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._writer.close()

    @staticmethod
    def is_installed() -> bool:
        """Return whether TensorBoard is there, which brings what writes its files."""
        return find_spec("tensorboard") is not None

    def add(self, step: int, values: Mapping[str, float | None]) -> None:
        """Add the values of a step by name; None for those that it has not."""
        with suppress(OSError):
            for name, value in values.items():
                if value is not None:
                    self._writer.add_scalar(name, value, step)

    def sync(self) -> None:
        """Write what is held back."""
        with suppress(OSError):
            self._writer.flush()
