"""How a run is ended from outside: Ctrl-C, SIGTERM and SIGHUP, each at a moment that suits it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ENDING = ("SIGTERM", "SIGHUP")


class Terminated(KeyboardInterrupt):
    """A signal other than Ctrl-C ends the run; whoever lets Ctrl-C through lets this through.

    Attributes:
        signum: Which one.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    @property
    def status(self) -> int:
        """The exit status that says so: 128 and the number of the signal."""
        return 128 + self.signum


class Signals:
    """What signals have asked for, and whether they are to wait.

    Outside of the blocks below, Ctrl-C raises KeyboardInterrupt as usual, and the others
    `Terminated`.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        """The first signal that came while they waited; None while none has."""

        self._is_waiting = False
        self._is_patient = False

    @property
    def is_terminated(self) -> bool:
        """Whether one came that is not Ctrl-C."""
        return self.received not in (None, signal.SIGINT)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let signals wait until the block ends or looks; a second Ctrl-C is not kept waiting."""
        with self._in_mode(is_patient=False):
            yield

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Let signals wait until the block ends, however many come; then the first has its way."""
        with self._in_mode(is_patient=True):
            yield
        if not self._is_waiting:
            self.raise_received()

    def raise_received(self) -> None:
        """Raise what a signal that has waited raises.

        Raises:
            KeyboardInterrupt: If it was Ctrl-C.
            Terminated: If it was another one.
        """
        signum, self.received = self.received, None
        if signum is not None:
            raise _interruption(signum)

    @contextmanager
    def _in_mode(self, *, is_patient: bool) -> Iterator[None]:
        before = (self._is_waiting, self._is_patient)
        self._is_waiting, self._is_patient = True, is_patient
        try:
            yield
        finally:
            self._is_waiting, self._is_patient = before

    def handle(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002  the signature is the signal module's
        """Note a signal, or raise what it stands for."""
        is_impatient = signum == signal.SIGINT and self.received is not None
        # Ctrl-C gives way to the others, which leave less time
        if signum != signal.SIGINT or self.received is None:
            self.received = signum
        if not self._is_waiting or (is_impatient and not self._is_patient):
            # It stays noted: libraries in C have been seen to swallow what is raised here.
            raise _interruption(signum)


def _interruption(signum: int) -> KeyboardInterrupt:
    return KeyboardInterrupt() if signum == signal.SIGINT else Terminated(signum)


@contextmanager
def caught_signals() -> Iterator[Signals]:
    """Yield what notes signals until the block ends.

    Those that whoever started us told to pass by do, as with ``nohup``. Signals reach only the main
    thread of a process: anywhere else none is noted.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return

    before: dict[int, Any] = {}
    for name in ("SIGINT", *_ENDING):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, signals.handle)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
