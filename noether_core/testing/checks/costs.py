"""Time and memory: how they grow with the number of tokens, against what the record says."""

from __future__ import annotations

import math
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from noether_core.testing.failures import CheckFailed
from noether_core.testing.measuring import Consumption
from noether_core.testing.subject import Subject

_TOKENS = (1024, 2048)
"""Numbers of tokens between which growth is measured; at them what grows fastest leads."""

_TOKENS_BY_CLOCK = (2048, 4096)

_TOO_LOW = 0.25
"""How far what is measured may exceed what is declared: a logarithm is a tenth here."""

_TOO_HIGH = 0.5
"""How far it may stay behind: what grows fastest may still be small."""

_CLOCK = 0.4
"""How far the clock may exceed what is declared: it counts what torch does not see, and what the
machine does.
"""

_TRIES = 4
_CALLS = 3
"""Calls in a try, of which the fastest counts."""


class _Cost(NamedTuple):
    work: int
    bytes: int


def check_time_exponent(subject: Subject) -> str:
    """Time grows with the number of tokens as the record's `time_exponent` says.

    Counted are the multiplications, additions and memory accesses of torch; a clock is asked beside
    for work that torch does not see.
    """
    few, many = (_cost(subject, tokens).work for tokens in _TOKENS)
    declared, measured = subject.variant.time_exponent, math.log2(many / few)
    if declared is None:
        return f"measured {measured:.2f}, not promised"
    _check_exponent(subject, "time", measured, declared)
    if (seen := _clocked(subject, declared)) > declared + _CLOCK:
        raise CheckFailed(
            f"{subject.type}: time_exponent is {declared:g}, and the processor's time grows with exponent {seen:.2f}, "
            f"though the work of torch has {measured:.2f}; what is done outside of torch grows faster"
        )
    return f"measured {measured:.2f}, declared {declared:g}"


def check_memory_exponent(subject: Subject) -> str:
    """Memory grows with the number of tokens as the record's `memory_exponent` says.

    It is the most that a forward pass in training holds at once beyond inputs and parameters, what
    it keeps for the backward pass included.
    """
    few, many = (
        _cost(subject, tokens).bytes + _bytes_outside(subject, tokens) for tokens in _TOKENS
    )
    declared, measured = subject.variant.memory_exponent, math.log2(many / few)
    if declared is None:
        return f"measured {measured:.2f}, not promised"
    _check_exponent(subject, "memory", measured, declared)
    return f"measured {measured:.2f}, declared {declared:g}"


def _check_exponent(subject: Subject, what: str, measured: float, declared: float) -> None:
    if -_TOO_HIGH <= measured - declared <= _TOO_LOW:
        return
    few, many = _TOKENS
    raise CheckFailed(
        f"{subject.type}: {what}_exponent is {declared:g}, and from {few} to {many} tokens {what} grows with exponent "
        f"{measured:.2f}; declare what is true"
    )


def _cost(subject: Subject, tokens: int) -> _Cost:
    """Return what torch does and holds in a forward pass."""
    module, arguments = _call(subject, tokens)
    with subject.seeded(0), Consumption() as consumption:
        _ = module(**arguments)
    return _Cost(consumption.work, consumption.peak)


def _call(subject: Subject, tokens: int) -> tuple[nn.Module, dict[str, Any]]:
    """Return a module in training, and a call of it."""
    arguments = subject.arguments(tokens=tokens, queries=tokens, batch=1, dtype=torch.float32)
    return subject.module(dtype=torch.float32).train(), arguments


def _bytes_outside(subject: Subject, tokens: int) -> int:
    """Return the most that Python and numpy hold at once in a forward pass."""
    module, arguments = _call(subject, tokens)
    is_tracing = tracemalloc.is_tracing()
    if not is_tracing:
        tracemalloc.start()
    try:
        subject.call(module, arguments)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        subject.call(module, arguments)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not is_tracing:
            tracemalloc.stop()
    return max(0, peak - before)


def _clocked(subject: Subject, declared: float) -> float:
    """Return the exponent of the processor's time; tried until it is low enough, since a busy
    machine only adds.
    """
    made = [_call(subject, tokens) for tokens in _TOKENS_BY_CLOCK]
    least, exponent = [math.inf, math.inf], math.inf
    with _one_thread(), torch.no_grad():
        for _ in range(_TRIES):
            timed = [min(_seconds(subject, *call) for _ in range(_CALLS)) for call in made]
            least = [min(known, seconds) for known, seconds in zip(least, timed, strict=True)]
            exponent = math.log2(least[1] / least[0])
            if exponent <= declared + _CLOCK:
                break
    return exponent


def _seconds(subject: Subject, module: nn.Module, arguments: dict[str, Any]) -> float:
    start = time.thread_time()
    subject.call(module, arguments)
    return time.thread_time() - start


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch work in this thread alone: others wait for each other, and waiting takes time of
    the processor.
    """
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)
