"""What the record says of the module: how it is made and called, and what it costs."""

from __future__ import annotations

import inspect
import math
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch import nn

from noether_core.errors import shown
from noether_core.schemas import AttentionConfig
from noether_core.testing import calls
from noether_core.testing.contract import check
from noether_core.testing.measuring import Consumption
from noether_core.testing.subject import Subject, config_of, declared_by

_TOKENS = (1024, 2048)
"""Numbers of tokens between which growth is measured; at them what grows fastest leads."""

_TOKENS_BY_CLOCK = (2048, 4096)

_TOO_LOW = 0.25
"""How far what is measured may exceed what is promised: a logarithm is a tenth here."""

_TOO_HIGH = 0.5
"""How far it may stay behind: what grows fastest may still be small."""

_CLOCK = 0.4
"""How far the clock may exceed what is promised.

It counts what torch does not see, and what the machine does.
"""

_TRIES = 4
_CALLS = 3
"""Calls in a try, of which the fastest counts."""


@check(needs="nothing")
def check_construction(subject: Subject) -> None:
    """A module is made of its config alone, or of a generic one of its type, and keeps it."""
    subject.check_has("config", "module")
    config, name = subject.config(), subject.variant.module.partition(":")[2]
    generic = AttentionConfig(**{"type": subject.type, **subject.given()})
    for given, kind in ((config, "its config"), (generic, "a generic AttentionConfig of its type")):
        try:
            kept = config_of(subject.made_directly(given))
        except Exception as error:
            raise subject.failure(
                f"{name} cannot be made of {kind}: {type(error).__name__}: {error}; "
                "call structure(config, ItsConfig) first"
            ) from error
        if kept != config:
            raise subject.failure(
                f"{name} made of {kind} keeps {shown(kept)} as its config, wanted {shown(config)}"
            )


@check(needs="module")
def check_signature(subject: Subject) -> None:
    """`forward` declares arguments of its interface and no others, each as the interface does."""
    interface, signature = subject.variant.interface, subject.signature
    declared = declared_by(subject.raw_module(subject.config()))
    for name, parameter in declared.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise subject.failure(
                f"forward takes {parameter}, which hides what it honours; "
                "declare each argument by its name, and no others"
            )
        if name not in (*signature.required, *signature.optional):
            raise subject.failure(
                f"forward declares {name}, which is no argument of the interface {interface!r}: "
                f"({signature.text(signature.optional)}); make it an option of the config"
            )

    bare = [value.replace(annotation=inspect.Parameter.empty) for value in declared.values()]
    got = str(inspect.Signature(bare)).strip("()")
    wanted = signature.text(name for name in signature.optional if name in declared)
    if got != wanted:
        raise subject.failure(
            f"forward takes ({got}), wanted ({wanted}) for the interface {interface!r}"
        )
    subject.check_has("signature")


@check(needs="signature")
def check_capabilities(subject: Subject) -> None:
    """The record promises the optional arguments that `forward` declares, and no others."""
    interface, signature = subject.variant.interface, subject.signature
    promised = subject.variant.capabilities
    declared = declared_by(subject.raw_module(subject.config()))

    problems = []
    for argument, capability in signature.optional.items():
        if argument in declared and capability not in promised:
            problems.append(
                f"forward declares {argument}, the record does not promise it; "
                f"add {capability!r} to its capabilities, or drop the argument"
            )
        if argument not in declared and capability in promised:
            problems.append(
                f"the record promises {capability!r}, forward does not declare {argument}; "
                "honour it, or drop the capability"
            )

    possible = {*signature.optional.values(), *signature.required, *calls.WITHOUT_ARGUMENT}
    problems += [
        f"the record promises {capability!r}, and the interface {interface!r} has no such "
        "argument; drop the capability"
        for capability in promised
        if capability not in possible
    ]
    if problems:
        raise subject.failure("\n".join(problems))


@attrs.frozen
class _Cost:
    work: int
    """Multiplications, additions, and numbers read and written."""

    bytes: int
    """The most that is held at once."""


@check()
def check_time_exponent(subject: Subject) -> str:
    """Time grows with the number of tokens as the record's `time_exponent` says.

    Counted are the multiplications, additions and memory accesses of torch; the processor's time is
    looked at beside, for work that torch does not see.
    """
    few, many = (_cost(subject, tokens).work for tokens in _TOKENS)
    promised, measured = subject.variant.time_exponent, math.log2(many / few)
    if promised is None:
        return f"measured {measured:.2f}, not promised"

    _check_exponent(subject, "time", measured, promised)
    clocked = _clocked_exponent(subject, promised)
    if clocked > promised + _CLOCK:
        raise subject.failure(
            f"time_exponent is {promised:g}, and the processor's time grows with exponent "
            f"{clocked:.2f}, though the work of torch has {measured:.2f}; "
            "what is done outside of torch grows faster"
        )
    return f"measured {measured:.2f}, promised {promised:g}"


@check()
def check_memory_exponent(subject: Subject) -> str:
    """Memory grows with the number of tokens as the record's `memory_exponent` says.

    It is the most that a forward pass in training holds at once beyond inputs and parameters, what
    it keeps for the backward pass included.
    """
    few, many = (
        _cost(subject, tokens).bytes + _bytes_outside(subject, tokens) for tokens in _TOKENS
    )
    promised, measured = subject.variant.memory_exponent, math.log2(many / few)
    if promised is None:
        return f"measured {measured:.2f}, not promised"
    _check_exponent(subject, "memory", measured, promised)
    return f"measured {measured:.2f}, promised {promised:g}"


def _check_exponent(subject: Subject, what: str, measured: float, promised: float) -> None:
    if -_TOO_HIGH <= measured - promised <= _TOO_LOW:
        return
    few, many = _TOKENS
    raise subject.failure(
        f"{what}_exponent is {promised:g}, and from {few} to {many} tokens {what} grows with "
        f"exponent {measured:.2f}; promise what is true, or None"
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
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    try:
        subject.call(module, arguments)  # the first call also fills caches that stay
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        subject.call(module, arguments)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not was_tracing:
            tracemalloc.stop()
    return max(0, peak - before)


def _clocked_exponent(subject: Subject, promised: float) -> float:
    """Return the exponent of the processor's time.

    Tried until it is low enough: a busy machine only adds time.
    """
    few, many = (_call(subject, tokens) for tokens in _TOKENS_BY_CLOCK)
    least_few, least_many, exponent = math.inf, math.inf, math.inf
    with _one_thread(), torch.no_grad():
        for _ in range(_TRIES):
            least_few = min(least_few, _seconds(subject, *few))
            least_many = min(least_many, _seconds(subject, *many))
            exponent = math.log2(least_many / least_few)
            if exponent <= promised + _CLOCK:
                break
    return exponent


def _seconds(subject: Subject, module: nn.Module, arguments: dict[str, Any]) -> float:
    """Return the processor's time for the fastest of some calls."""
    fastest = math.inf
    for _ in range(_CALLS):
        start = time.thread_time()
        subject.call(module, arguments)
        fastest = min(fastest, time.thread_time() - start)
    return fastest


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch work in this thread alone.

    Threads wait for each other, and waiting takes time of the processor.
    """
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)
