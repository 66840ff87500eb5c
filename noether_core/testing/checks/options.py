"""Options: each is read, and acts."""

from __future__ import annotations

import copy
import itertools
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor

from noether_core.testing.contract import check
from noether_core.testing.gradients import gradients_of
from noether_core.testing.measuring import Operations
from noether_core.testing.option_values import fields_of, is_fixed, other_values
from noether_core.testing.subject import Subject

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from noether_core.schemas import AttentionConfig
    from noether_core.schemas.schema import Field

_MOST_TRIED = 3
"""Other values of an option that are tried in one setting."""

_COPYING = ("attr", "attrs", "cattrs", "noether_core.schemas", "noether_core.structuring")
"""Modules that go through all options, whatever they are, to compare, copy and write them out."""

_GENERATED = "<attrs generated"
"""How the file name of a method begins that attrs wrote, such as the `__repr__` of a config."""


@check(needs="gradients")
def check_options_are_read(subject: Subject) -> str:
    """Every option is read: another value changes numbers, operations or what is refused.

    An option may matter under other options alone. One that the schema fixes is not tried; one that
    the record calls silent need only be read. To copy it with all others is not to read it.
    """
    fields = [field for field in fields_of(subject) if not is_fixed(field.annotation)]
    trial = _Trial(subject, fields)
    for field in fields:
        is_silent = field.option in subject.variant.silent_options
        if is_silent or next(other_values(subject, field), None) is None:
            if field.name not in _read_by_module(subject):
                raise subject.failure(
                    f"nobody reads the option {field.option!r}; use it, or drop it"
                )
        elif not trial.acts(field):
            raise subject.failure(
                f"other values of {field.option!r} change neither numbers nor operations nor "
                "refusals; use it, drop it, fix it to one Literal, or name it in the record's "
                "silent_options"
            )
    return f"{len(fields)} options"


class _Observed:
    """What a config makes of calls, found out as far as somebody looks."""

    def __init__(self, subject: Subject, config: AttentionConfig) -> None:
        self._rest = _facts(subject, config)
        self._known: list[tuple[str, Any]] = []

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Yield what each fact is, and its value."""
        for number in itertools.count():
            if number == len(self._known):
                fact = next(self._rest, None)
                if fact is None:
                    return
                self._known.append(fact)
            yield self._known[number]


class _Trial:
    """Tries other values of options, in the example and where other options differ from it."""

    def __init__(self, subject: Subject, fields: list[Field]) -> None:
        self._subject = subject
        self._fields = fields
        self._known: dict[AttentionConfig, _Observed] = {}
        # What differs between two modules of one config says nothing about options.
        example = subject.config()
        self._noisy = _differing(_Observed(subject, example), _Observed(subject, example))

    def acts(self, field: Field) -> bool:
        """Return whether another value of an option changes anything in any setting."""
        return any(self._acts_in(field, setting) for setting in self._settings(field))

    def _acts_in(self, field: Field, setting: dict[str, Any]) -> bool:
        before = self._observe(setting)
        values = other_values(self._subject, field, **setting)
        for value in itertools.islice(values, _MOST_TRIED):
            after = self._observe({**setting, field.option: value})
            if self._differ(before, after):
                return True
        return False

    def _settings(self, field: Field) -> Iterator[dict[str, Any]]:
        """Yield the example, and what differs from it in one other option."""
        yield {}
        # Switches come first: where an option needs another one, that is it most often.
        for other in sorted(self._fields, key=lambda other: other.annotation is not bool):
            if other.option != field.option:
                for value in itertools.islice(other_values(self._subject, other), _MOST_TRIED):
                    yield {other.option: value}

    def _observe(self, changes: dict[str, Any]) -> _Observed:
        config = self._subject.config(**changes)
        if config not in self._known:
            self._known[config] = _Observed(self._subject, config)
        return self._known[config]

    def _differ(self, one: _Observed, other: _Observed) -> bool:
        """Return whether anything differs but noise; most options show in the first call."""
        for (name, value), (other_name, other_value) in zip(one, other, strict=False):
            if name != other_name:
                break
            if name not in self._noisy and not _are_same(value, other_value):
                return True
        return bool(_differing(one, other) - self._noisy)


def _facts(subject: Subject, config: AttentionConfig) -> Iterator[tuple[str, Any]]:
    """Yield the operations, results and gradients of every call of a module, call by call.

    The weights that it starts with are left out: what matters of them shows in results, and a
    buffer that holds an option and is never used would show in nothing else.
    """
    try:
        module = subject.with_noise(subject.raw_module(config))
        for number, arguments in enumerate(subject.each_call(module, dtype=torch.float32)):
            for is_training in (False, True):
                call = f"call {number} in {'training' if is_training else 'evaluation'}"
                with Operations() as operations:
                    y = subject.call(module.train(is_training), arguments)
                    gradients = gradients_of(module, y)
                yield f"operations of {call}", operations.seen
                yield f"result of {call}", y.detach()
                for name, gradient in gradients.items():
                    yield f"gradient of {name} in {call}", gradient
    except Exception as error:  # noqa: BLE001  what is refused is part of what an option does
        yield "refusal", type(error).__name__


def _differing(first: _Observed, second: _Observed) -> set[str]:
    """Return the names of what is not the same, to the last bit."""
    one, other = dict(first), dict(second)
    shared = one.keys() & other.keys()
    changed = {name for name in shared if not _are_same(one[name], other[name])}
    return changed | (one.keys() ^ other.keys())


def _are_same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if not isinstance(one, Tensor):
        return bool(one == other)
    if one.dtype != other.dtype:
        return False
    # A NaN is not equal to itself, and two modules that return it there are the same.
    return torch.equal(one.nan_to_num(), other.nan_to_num())


def _read_by_module(subject: Subject) -> set[str]:
    """Return the attributes of its config that a module reads when it is made and called."""
    readings = Readings()
    module = subject.made_directly(readings.of(subject.config())).to(subject.device)
    for is_training in (False, True):
        for arguments in subject.each_call(module, dtype=torch.float32):
            subject.call(module.train(is_training), arguments)
    return readings.names


@attrs.define
class Readings:
    """Which attributes of configs were read, and from where in the code."""

    _names_by_site: dict[tuple[CodeType, int], set[str]] = attrs.field(factory=dict)

    @property
    def names(self) -> set[str]:
        """The names of all attributes that were read for their own sake.

        One instruction that reads several goes through all there are, as a copy does.
        """
        sites = self._names_by_site.values()
        return set().union(*(names for names in sites if len(names) == 1))

    def of(self, config: AttentionConfig) -> AttentionConfig:
        """Return a config equal to *config* whose attributes are watched."""
        cls = type(config)
        fields = [field.name for field in attrs.fields(cls)]

        def read(recorded: AttentionConfig, name: str) -> Any:
            if name in fields:
                self._add(name)
            return object.__getattribute__(recorded, name)

        def is_equal(recorded: AttentionConfig, other: object) -> Any:
            if not isinstance(other, cls):
                return NotImplemented
            return _values(recorded, fields) == _values(other, fields)

        members = {
            "__slots__": (),
            "__getattribute__": read,
            "__eq__": is_equal,
            "__hash__": lambda _: hash(config),
            "__copy__": lambda recorded: recorded,
            "__deepcopy__": lambda recorded, _: recorded,
            # Nothing can import the class of the one that is watched.
            "__reduce_ex__": lambda *_: (copy.copy, (config,)),
        }
        recorded: AttentionConfig = object.__new__(type(cls.__name__, (cls,), members))
        for name in fields:
            object.__setattr__(recorded, name, getattr(config, name))
        return recorded

    def _add(self, name: str) -> None:
        frame = sys._getframe(2)  # noqa: SLF001  there is no other way to whoever reads
        if _is_copying(frame):
            return
        site = (frame.f_code, frame.f_lasti)
        self._names_by_site.setdefault(site, set()).add(name)


def _is_copying(frame: FrameType) -> bool:
    """Return whether code of ours or of a library goes through all options of a config."""
    if frame.f_code.co_filename.startswith(_GENERATED):
        return True
    module = str(frame.f_globals.get("__name__"))
    return any(module == other or module.startswith(f"{other}.") for other in _COPYING)


def _values(config: object, names: list[str]) -> list[Any]:
    """Return options of a config, unseen where it is watched."""
    return [object.__getattribute__(config, name) for name in names]
