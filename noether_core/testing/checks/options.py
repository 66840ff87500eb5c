"""Options: each is read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from noether_core.testing.alternatives import alternatives, fields_of, is_fixed
from noether_core.testing.failures import CheckFailed
from noether_core.testing.gradients import gradients_of
from noether_core.testing.measuring import Operations
from noether_core.testing.reading import recording
from noether_core.testing.subject import Subject

if TYPE_CHECKING:
    from noether_core.schemas import AttentionConfig
    from noether_core.schemas.schema import Field

_Seen = dict[str, Any]
"""What a config makes of a module and its calls, by what it is."""

_MOST_TRIED = 3
"""Other values of an option that are tried in one setting."""


def check_options_are_read(subject: Subject) -> str:
    """Every option is read: another value changes weights, numbers, operations or what is refused.

    An option may matter under other options alone. One that the schema fixes is not tried; one that
    the record calls silent need only be looked at.
    """
    fields = [field for field in fields_of(subject) if not is_fixed(field.annotation)]
    trial = _Trial(subject, fields)
    for field in fields:
        is_silent = field.option in subject.variant.silent_options
        if is_silent or next(alternatives(subject, field), None) is None:
            if field.name not in _looked_at(subject):
                raise CheckFailed(
                    f"{subject.type}: nobody looks at the option {field.option!r}; read it, or drop it"
                )
        elif not trial.acts(field):
            raise CheckFailed(
                f"{subject.type}: other values of {field.option!r} change neither weights nor numbers, operations or "
                "refusals; read it, drop it, fix it to one Literal, or name it in the record's silent_options"
            )
    return f"{len(fields)} options"


class _Trial:
    """Tries other values of options, in the example and where other options differ from it."""

    def __init__(self, subject: Subject, fields: list[Field]) -> None:
        self._subject = subject
        self._fields = fields
        self._known: dict[AttentionConfig, _Seen] = {}
        example = subject.config()
        self._noisy = _differing(_seen(subject, example), _seen(subject, example))

    def acts(self, field: Field) -> bool:
        """Return whether another value of an option changes anything in any setting."""
        return any(self._acts_in(field, setting) for setting in self._settings(field))

    def _acts_in(self, field: Field, setting: dict[str, Any]) -> bool:
        before = self._observe(setting)
        values = itertools.islice(alternatives(self._subject, field, **setting), _MOST_TRIED)
        observed = (self._observe({**setting, field.option: value}) for value in values)
        return any(_differing(before, after) - self._noisy for after in observed)

    def _settings(self, field: Field) -> Iterator[dict[str, Any]]:
        """Yield the example, and what differs from it in one other option."""
        yield {}
        for other in self._fields:
            if other.option != field.option:
                for value in itertools.islice(alternatives(self._subject, other), _MOST_TRIED):
                    yield {other.option: value}

    def _observe(self, changes: dict[str, Any]) -> _Seen:
        config = self._subject.config(**changes)
        if config not in self._known:
            self._known[config] = _seen(self._subject, config)
        return self._known[config]


def _seen(subject: Subject, config: AttentionConfig) -> _Seen:
    """Return the weights that a config starts with, and of every call its operations and its
    numbers.
    """
    seen: _Seen = {}
    try:
        module = subject.raw_module(config)
        seen["weights"] = {name: value.clone() for name, value in module.state_dict().items()}
        subject.enlivened(module)
        for number, arguments in enumerate(subject.each_call(module, dtype=torch.float32)):
            for training in (False, True):
                call = f"call {number} in {'training' if training else 'evaluation'}"
                seen[f"operations of {call}"], seen[call] = _called(
                    subject, module.train(training), arguments
                )
    except Exception as error:  # noqa: BLE001  what is refused is part of what an option does
        seen["refused"] = type(error).__name__
    return seen


def _called(subject: Subject, module: nn.Module, arguments: dict[str, Any]) -> tuple[Any, Any]:
    """Return the operations of a call and of its backward pass, and their numbers."""
    with Operations() as operations:
        y = subject.call(module, arguments)
        gradients = gradients_of(module, y)
    return operations.seen, {"": y.detach(), **gradients}


def _differing(one: _Seen, other: _Seen) -> frozenset[str]:
    """Return the names of what is not the same, to the last bit."""
    return frozenset(
        name for name in one.keys() | other.keys() if not _are_same(one.get(name), other.get(name))
    )


def _are_same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one.nan_to_num(), other.nan_to_num())
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_are_same(one[key], other[key]) for key in one)
    return type(one) is type(other) and bool(one == other)


def _looked_at(subject: Subject) -> set[str]:
    """Return the attributes of its config that a module looks at when it is made and called."""
    names: set[str] = set()
    module = subject.made_directly(recording(subject.config(), names)).to(subject.device)
    for training in (False, True):
        for arguments in subject.each_call(module, dtype=torch.float32):
            subject.call(module.train(training), arguments)
    return names
