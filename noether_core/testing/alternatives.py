"""Other values of options, and values that an option must not take."""

from __future__ import annotations

import enum
import itertools
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from noether_core.schemas.annotations import is_schema
from noether_core.schemas.bounds import bounds_of
from noether_core.schemas.schema import Field, plan_of
from noether_core.testing.subject import Subject

_NOT_SET = frozenset({"type", "head_dim"})
"""Options that follow from others: the class says its type, and heads share the width."""


def fields_of(subject: Subject) -> tuple[Field, ...]:
    """Return the options that can be set."""
    plan = plan_of(subject.variant.config)
    return tuple(field for field in plan.fields if field.option in plan.options - _NOT_SET)


def value_of(subject: Subject, field: Field) -> Any:
    """Return the value of an option in the example."""
    return getattr(subject.config(), field.name)


def alternatives(subject: Subject, field: Field, **setting: Any) -> Iterator[Any]:
    """Yield other values of an option, each of which makes a sound config with the example and
    *setting*.
    """
    current = getattr(subject.config(**setting), field.name)
    for value in _candidates(field.annotation, current):
        if value != current and subject.is_sound(**{**setting, field.option: value}):
            yield value


def _candidates(annotation: Any, current: Any) -> Iterator[Any]:
    for member in _members(annotation):
        yield from _of_kind(member, current)


def _members(annotation: Any) -> Iterator[Any]:
    """Yield what an annotation is a union of, without bounds."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _of_kind(annotation: Any, current: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if annotation is bool:
        yield from (True, False)
    elif annotation is int:
        yield from _whole_numbers(current)
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


def _whole_numbers(current: Any) -> Iterator[int]:
    start = current if type(current) is int else 2
    yield from dict.fromkeys((2 * start, start + 1, start - 1, 1, 0, 2, 3, 4, 8, 16))


def _numbers(current: Any) -> Iterator[float]:
    start = float(current) if type(current) in (int, float) else 1.0
    yield from dict.fromkeys((start / 2, 2 * start, 0.5, 0.25, 0.0, 1.0, 2.0, -1.0, start + 1))


def _lists(annotation: Any, current: Any) -> Iterator[Any]:
    """Yield lists with an item more, an item less, another item, and of one item alone."""
    items = tuple(current) if isinstance(current, (tuple, list)) else ()
    others = itertools.islice(_candidates(get_args(annotation)[0], items[-1] if items else None), 3)
    for other in others:
        yield from ((*items, other), (*items[:-1], other), (other,))
    yield from (items[:-1], items[::-1])


def foreign_values(annotation: Any, current: Any) -> Iterator[Any]:
    """Yield plain values that an option of this annotation must not take: those of every other
    kind.

    A text that reads like the value it should be is among them.
    """
    kinds = {kind for member in _members(annotation) for kind in _kinds(member)}
    for kind, values in _PLAIN.items():
        if kind not in kinds:
            yield from values
    if "text" not in kinds:
        yield str(current)


def takes_anything(annotation: Any) -> bool:
    """Return whether an annotation leaves any plain value in."""
    return any(member is Any for member in _members(annotation))


def _kinds(annotation: Any) -> Iterator[str]:
    """Yield the kinds of plain values that an annotation takes."""
    origin = get_origin(annotation)
    if annotation in _SCALARS:
        yield from _SCALARS[annotation]
    elif origin is Literal:
        yield from (kind for value in get_args(annotation) for kind in _SCALARS[type(value)])
    elif isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        yield from (kind for member in annotation for kind in _SCALARS.get(type(member.value), ()))
    elif origin in (tuple, Sequence):
        yield "list"
    elif origin is Mapping or is_schema(annotation):
        yield "mapping"


_SCALARS: Mapping[Any, tuple[str, ...]] = {
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


def bounds_in(annotation: Any) -> Iterator[tuple[Any, tuple[tuple[str, Any], ...]]]:
    """Yield the numbers that an annotation takes, each as its class with its bounds."""
    metadata: tuple[Any, ...] = ()
    if get_origin(annotation) is Annotated:
        annotation, *rest = get_args(annotation)
        metadata = tuple(rest)
    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from bounds_in(Annotated[(member, *metadata)] if metadata else member)
    elif annotation in (int, float):
        yield annotation, bounds_of(metadata).terms


def is_fixed(annotation: Any) -> bool:
    """Return whether an annotation leaves one value."""
    members = list(_members(annotation))
    return (
        len(members) == 1 and get_origin(members[0]) is Literal and len(get_args(members[0])) == 1
    )
