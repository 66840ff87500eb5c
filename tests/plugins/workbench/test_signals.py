"""How signals end a run."""

import os
import signal
import sys
import threading
from contextlib import suppress

import pytest

from noether_plugins.workbench.signals import Terminated, caught_signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


def _send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_what_does_not_wait_with_its_status(number):
    before = signal.getsignal(number)
    with pytest.raises(Terminated) as caught, caught_signals():
        _send(number)
    assert caught.value.status == 128 + number
    assert signal.getsignal(number) is before


def test_ctrl_c_interrupts_what_does_not_wait_as_usual():
    with pytest.raises(KeyboardInterrupt), caught_signals():
        _send(signal.SIGINT)


def test_the_first_ctrl_c_waits_and_the_second_does_not():
    with caught_signals() as signals, signals.waiting():
        assert signals.received is None
        _send(signal.SIGINT)
        assert signals.received == signal.SIGINT
        assert not signals.is_terminated
        with pytest.raises(KeyboardInterrupt):
            _send(signal.SIGINT)


def test_what_holds_signals_back_is_done_before_they_have_their_way():
    done = []
    with caught_signals() as signals:
        with pytest.raises(Terminated), signals.held_back():  # noqa: PT012
            _send(signal.SIGINT)
            _send(signal.SIGINT)
            _send(signal.SIGTERM)
            _send(signal.SIGINT)
            done.append(1)
        assert done == [1]
        assert signals.received is None


def test_an_interrupt_that_somebody_swallows_stays_noted():
    with caught_signals() as signals, signals.waiting():
        for _ in range(2):
            with suppress(KeyboardInterrupt):
                _send(signal.SIGINT)
        assert signals.received == signal.SIGINT


def test_what_is_held_back_within_what_waits_waits_on():
    with caught_signals() as signals, signals.waiting():
        with signals.held_back():
            _send(signal.SIGTERM)
        assert signals.is_terminated


def test_a_signal_that_was_to_be_passed_by_is():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with caught_signals() as signals:
            _send(signal.SIGHUP)
            assert signals.received is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_threads_other_than_the_main_one_leave_signals_alone():
    seen = []

    def look():
        with caught_signals() as signals, signals.waiting():
            seen.append(signals.received)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [None]
