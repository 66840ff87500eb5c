"""Values of options: other sound ones, values at and beyond bounds, values of a wrong kind."""

from __future__ import annotations

import enum
import itertools
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs

from noether_core.schemas.annotations import is_schema
from noether_core.schemas.bounds import bounds_of
from noether_core.schemas.schema import Field, plan_of
from noether_core.testing.subject import Subject

_NOT_SET = frozenset({"type", "head_dim"})
"""Options that follow from others: the class says its type, and heads share the width."""

_STEP = 1e-3
"""How far beyond an open bound a number is tried."""

_UNBOUNDED = (-1, 0)
"""Numbers that an option without a lower bound takes."""


def fields_of(subject: Subject) -> tuple[Field, ...]:
    """Return the options that can be set."""
    plan = plan_of(subject.variant.config)
    return tuple(field for field in plan.fields if field.option in plan.options - _NOT_SET)


def example_value(subject: Subject, field: Field) -> Any:
    """Return the value of an option in the example."""
    return getattr(subject.config(), field.name)


def other_values(subject: Subject, field: Field, **setting: Any) -> Iterator[Any]:
    """Yield other values of an option that make sound configs of the example and *setting*."""
    current = getattr(subject.config(**setting), field.name)
    for value in _candidates(field.annotation, current):
        if value != current and subject.is_sound(**{**setting, field.option: value}):
            yield value


def _candidates(annotation: Any, current: Any) -> Iterator[Any]:
    for member in _members(annotation):
        yield from _candidates_of_kind(member, current)


def _members(annotation: Any) -> Iterator[Any]:
    """Yield what an annotation is a union of, without bounds."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _candidates_of_kind(annotation: Any, current: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if annotation is bool:
        yield from (True, False)
    elif annotation is int:
        yield from _integers(current)
    elif annotation is float:
        yield from _numbers(current)
    elif annotation is str:
        yield from (f"{current or ''}_other", "other")
    elif annotation is type(None):
        yield None
    elif origin is Literal:
        yield from get_args(annotation)
    elif isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        yield from annotation
    elif origin in (tuple, Sequence):
        yield from _lists(annotation, current)


def _integers(current: Any) -> Iterator[int]:
    start = current if type(current) is int else 2
    # Near the current value first, since rules across options leave these in most often.
    yield from dict.fromkeys((2 * start, start + 1, start - 1, 1, 0, 2, 3, 4, 8, 16))


def _numbers(current: Any) -> Iterator[float]:
    start = float(current) if type(current) in (int, float) else 1.0
    yield from dict.fromkeys((start / 2, 2 * start, 0.5, 0.25, 0.0, 1.0, 2.0, -1.0, start + 1))


def _lists(annotation: Any, current: Any) -> Iterator[Any]:
    """Yield lists with an item more, an item less, another item, and of one item alone."""
    items = tuple(current) if isinstance(current, (tuple, list)) else ()
    last = items[-1] if items else None
    for other in itertools.islice(_candidates(get_args(annotation)[0], last), 3):
        yield from ((*items, other), (*items[:-1], other), (other,))
    yield from (items[:-1], items[::-1])


def foreign_values(annotation: Any, current: Any) -> Iterator[Any]:
    """Yield plain values of every kind that an option of this annotation must not take.

    A text that reads like the value it should be is one of them.
    """
    kinds: set[str] = set()
    for member in _members(annotation):
        kinds.update(_kinds(member))

    for kind, values in _PLAIN.items():
        if kind not in kinds:
            yield from values
    if "text" not in kinds:
        yield str(current)


def takes_anything(annotation: Any) -> bool:
    """Return whether an annotation leaves any plain value in."""
    return any(member is Any for member in _members(annotation))


def _kinds(annotation: Any) -> tuple[str, ...]:
    """Return the kinds of plain values that an annotation takes."""
    if annotation in _KINDS:
        return _KINDS[annotation]

    origin = get_origin(annotation)
    if origin is Literal:
        return _kinds_of_values(get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _kinds_of_values([member.value for member in annotation])
    if origin in (tuple, Sequence):
        return ("list",)
    if origin is Mapping or is_schema(annotation):
        return ("mapping",)
    return ()


def _kinds_of_values(values: Sequence[Any]) -> tuple[str, ...]:
    kinds: list[str] = []
    for value in values:
        kinds.extend(_KINDS.get(type(value), ()))
    return tuple(kinds)


_KINDS: Mapping[Any, tuple[str, ...]] = {
    bool: ("boolean",),
    int: ("integer",),
    float: ("integer", "number"),
    str: ("text",),
    type(None): ("none",),
}

_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "boolean": (True, False),
    "integer": (1, 0, 7),
    "number": (2.5, 1.0),
    "text": ("text", "true", "1"),
    "none": (None,),
    "list": ([], ["text"], [1]),
    "mapping": ({}, {"key": 1}),
    "never": (float("nan"), float("inf"), object()),
}


@attrs.frozen
class NumberRange:
    """Numbers that an annotation takes: integers or floats, between bounds."""

    kind: type[int | float]

    limits: Mapping[str, Any]
    """Limits by the names of the bounds: ``ge``, ``gt``, ``le``, ``lt``."""

    @property
    def _step(self) -> float:
        return 1 if self.kind is int else _STEP

    def outside(self) -> Iterator[Any]:
        """Yield numbers just beyond the bounds."""
        limits = self.limits
        if "ge" in limits:
            yield self.kind(limits["ge"]) - self._step
        if "le" in limits:
            yield self.kind(limits["le"]) + self._step
        for name in ("gt", "lt"):
            if name in limits:
                yield self.kind(limits[name])

    def outermost(self) -> Iterator[Any]:
        """Yield numbers at the bounds, and some where there is no lower one."""
        limits = self.limits
        for name in ("ge", "le"):
            if name in limits:
                yield self.kind(limits[name])
        if "gt" in limits:
            yield self.kind(limits["gt"]) + self._step
        if "lt" in limits:
            yield self.kind(limits["lt"]) - self._step
        if not limits.keys() & {"ge", "gt"}:
            yield from map(self.kind, _UNBOUNDED)


def number_ranges(annotation: Any) -> Iterator[NumberRange]:
    """Yield the numbers that an annotation takes, for each kind of a union by itself."""
    metadata: tuple[Any, ...] = ()
    if get_origin(annotation) is Annotated:
        annotation, *rest = get_args(annotation)
        metadata = tuple(rest)

    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            # Bounds around a union hold for each of its members.
            yield from number_ranges(Annotated[(member, *metadata)] if metadata else member)
    elif annotation in (int, float):
        yield NumberRange(annotation, dict(bounds_of(metadata).terms))


def is_fixed(annotation: Any) -> bool:
    """Return whether an annotation leaves one value."""
    members = list(_members(annotation))
    if len(members) > 1 or get_origin(members[0]) is not Literal:
        return False
    return len(get_args(members[0])) == 1
