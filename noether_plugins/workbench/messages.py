"""What a run says as it goes, on streams that may go away without ending it."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO


class LastingStream(io.TextIOBase):
    """A stream that takes all that is written, also once nobody reads it or the disk is full.

    What is lost is lost: a training is worth more than the lines that tell of it.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write *text* if that is possible."""
        try:
            if self._stream is not None:
                self._stream.write(text)
        except BlockingIOError:  # whoever reads it is slow
            pass
        except (OSError, ValueError):  # ValueError: it is closed
            self._give_up()
        return len(text)

    def flush(self) -> None:
        """Write what is held back, if that is possible."""
        try:
            if self._stream is not None:
                self._stream.flush()
        except BlockingIOError:
            pass
        except (OSError, ValueError):
            self._give_up()

    def _give_up(self) -> None:
        """Send what the stream still holds nowhere: Python writes it again as it ends."""
        stream, self._stream = self._stream, None
        with contextlib.suppress(OSError, ValueError, AttributeError):
            number = stream.fileno()  # type: ignore[union-attr]
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:
            return False

    def fileno(self) -> int:
        """Return the number of the file behind it.

        Raises:
            OSError: If there is none.
        """
        if self._stream is None:
            raise OSError("the stream has gone away")
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def writable(self) -> bool:
        """Return that it takes text."""
        return True


@contextlib.contextmanager
def lasting_output() -> Iterator[None]:
    """Let nothing that is printed in the block, warnings included, end it by failing."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = LastingStream(sys.stdout), LastingStream(sys.stderr)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = streams


def say(text: str) -> None:
    """Print a line on standard error if that is possible."""
    print(text, file=LastingStream(sys.stderr), flush=True)


def say_result(text: str) -> None:
    """Print lines on standard output if that is possible."""
    print(text, file=LastingStream(sys.stdout), flush=True)
