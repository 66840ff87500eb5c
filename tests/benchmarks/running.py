"""Whether a measurement is made or only planned, and who hears that it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class _Run(NamedTuple):
    is_plan: bool
    begins: Callable[[str], None]
    is_quick: bool = False


_UNWATCHED = _Run(is_plan=False, begins=lambda _: None)

_run = ContextVar("run", default=_UNWATCHED)


@contextmanager
def announcing(begins: Callable[[str], None], *, quick: bool = False) -> Iterator[None]:
    """Call *begins* with the name of each measurement before it is made."""
    yield from _during(_Run(is_plan=False, begins=begins, is_quick=quick))


@contextmanager
def planning(begins: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Measure nothing: each measurement is announced, and finds a one at once."""
    yield from _during(_Run(is_plan=True, begins=begins))


def _during(run: _Run) -> Iterator[None]:
    token = _run.set(run)
    try:
        yield
    finally:
        _run.reset(token)


def begin(name: str) -> None:
    """Announce that a measurement begins."""
    _run.get().begins(name)


def is_quick() -> bool:
    """Return whether measurements need only run, whatever they find."""
    return _run.get().is_quick


def measured(measure: Callable[[], T], stand_in: T) -> T:
    """Return what *measure* finds, or *stand_in* where measurements are but planned."""
    return stand_in if _run.get().is_plan else measure()
