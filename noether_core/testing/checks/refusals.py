"""What a module cannot take it refuses, by an error that names the argument."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from noether_core.errors import ShapeError
from noether_core.testing import calls
from noether_core.testing.comparing import check_refused
from noether_core.testing.subject import Subject

_Wrong = tuple[str, str, Callable[[Tensor], Tensor]]
"""An argument, what is wrong with it, and what makes it so."""

_WRONG_SHAPES: tuple[_Wrong, ...] = (
    *(
        wrong
        for name in ("x", "q", "kv")
        for wrong in (
            (name, "two axes", lambda tokens: tokens[0]),
            (name, "four axes", lambda tokens: tokens[..., None]),
            (name, "another width", lambda tokens: tokens[..., :-1]),
        )
    ),
    ("key_padding_mask", "too few tokens", lambda mask: mask[:, :-1]),
    ("key_padding_mask", "one sample for many", lambda mask: mask[:1]),
    ("key_padding_mask", "three axes", lambda mask: mask[:, None]),
    ("attn_mask", "too few keys", lambda mask: mask[:, :-1]),
    ("attn_mask", "five axes", lambda mask: mask[None, None, None]),
    ("positions", "too few tokens", lambda points: points[:, :-1]),
    ("positions", "two axes", lambda points: points[0]),
    *(
        wrong
        for name in ("freqs", "q_freqs", "k_freqs")
        for wrong in (
            (name, "too few tokens", lambda freqs: freqs[:, :-1]),
            (name, "too wide", lambda freqs: torch.cat([freqs, freqs], dim=-1)),
        )
    ),
)

_WRONG_DTYPES: tuple[_Wrong, ...] = (
    *(
        wrong
        for name in ("x", "q", "kv")
        for wrong in (
            (name, "integers", lambda tokens: tokens.long()),
            (name, "complex numbers", lambda tokens: tokens.to(torch.complex128)),
        )
    ),
    ("key_padding_mask", "floating numbers", lambda mask: mask.double()),
    ("attn_mask", "integers", lambda mask: mask.long()),
    ("positions", "integers", lambda points: points.long()),
    *((name, "real numbers", lambda freqs: freqs.real) for name in ("freqs", "q_freqs", "k_freqs")),
)


def check_refuses_wrong_shapes(subject: Subject) -> None:
    """A tensor of a wrong shape is refused by a ShapeError that names the argument."""
    _check_each_refused(subject, _WRONG_SHAPES)


def check_refuses_wrong_dtypes(subject: Subject) -> None:
    """A tensor of a wrong kind of numbers is refused by a ShapeError that names the argument."""
    _check_each_refused(subject, _WRONG_DTYPES)


def _check_each_refused(subject: Subject, wrongs: tuple[_Wrong, ...]) -> None:
    sound = list(_sound_calls(subject))
    for name, what, spoil in wrongs:
        for module, arguments in sound:
            if name in arguments:
                spoilt = {**arguments, name: spoil(arguments[name])}
                told = f"{subject.type}: {name} with {what} must be refused; noether_core.nn has checks for it"
                check_refused(lambda: subject.call(module, spoilt), ShapeError, name, told)  # noqa: B023  called at once


def _sound_calls(subject: Subject) -> Iterator[tuple[nn.Module, calls.Arguments]]:
    """Yield modules with calls that they take: without and with rotations, and with every mask."""
    module = subject.module()
    for arguments in subject.each_call(module):
        yield module, arguments
    if subject.honours("rope"):
        turning = subject.module(use_rope=True)
        yield turning, subject.arguments(turning)
