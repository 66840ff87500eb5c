"""What a config class accepts, as plain data and its hash: the same in every process and on every
machine.
"""

from __future__ import annotations

import enum
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.plain import plain
from noether_core.schemas.rules import bounds_of, is_schema
from noether_core.schemas.schema import Field, Schema, plan_of

_Data = dict[str, Any]


def accepted_by(cls: type[Schema]) -> _Data:
    """Return the options of *cls*: what each accepts, and its default where it has one.

    Counted are names, types, bounds, choices and defaults, those of configs within included. Not
    counted are help, the order of fields, the spelling of annotations that mean the same, and rules
    across fields, which are code; a predicate counts by its name.
    """
    return _options(cls, ())


def schema_hash(accepted: Mapping[str, Any]) -> str:
    """Return the 64 hexadecimal digits that stand for what `accepted_by` told."""
    import hashlib

    return hashlib.sha256(canonical_json(accepted).encode()).hexdigest()


def changes_between(before: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    """Yield in words each option that is told otherwise *here* than *before*, sorted by name."""
    for name in sorted(before.keys() | here.keys()):
        if name not in here:
            yield f"'{name}' is gone"
        elif name not in before:
            yield f"'{name}' is new{_default(here[name], ', with the default {}', ', and required')}"
        else:
            yield from _changes_of(name, before[name], here[name])


def _changes_of(name: str, before: Any, here: Any) -> Iterator[str]:
    if canonical_json(_part(before, "accepts")) != canonical_json(
        _part(here, "accepts")
    ):  # True is 1 elsewhere
        yield f"'{name}' accepts other values"
    told, tells = (_default(option, "the default {}", "no default") for option in (before, here))
    if told != tells:
        yield f"'{name}' has {tells} instead of {told}"


def _default(option: Any, some: str, none: str) -> str:
    has_one = isinstance(option, Mapping) and "default" in option
    return some.format(canonical_json(option["default"])) if has_one else none


def _part(option: Any, key: str) -> Any:
    return option.get(key) if isinstance(option, Mapping) else option


def canonical_json(data: Any) -> str:
    """Return the one text of plain data: sorted, without spaces, in ASCII."""
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), default=lambda value: type(value).__qualname__
    )


def _options(cls: type[Schema], around: tuple[type, ...]) -> _Data:
    """Return the options of a class; *around* are the classes that it stands in, for one that holds
    itself.
    """
    plan = plan_of(cls)
    told: _Data = {}
    for field in plan.fields:
        if field.option in plan.options:
            told[field.option] = {"accepts": _accepts_of(field, (*around, cls))}
            if field.option not in plan.required:
                told[field.option]["default"] = _canonical(plain(field.default_value()))
    return told


def _accepts_of(field: Field, around: tuple[type, ...]) -> _Data:
    """Return what a field accepts; in words where its schema reads the annotation by a rule of its
    own.
    """
    try:
        return _accepts(field.annotation, (), around)
    except TypeError:
        return {"is": field.expected}


def _accepts(annotation: Any, metadata: tuple[Any, ...], around: tuple[type, ...]) -> _Data:
    """Return what values of *annotation* are; bounds around a union hold for each of its members
    but None.
    """
    if get_origin(annotation) is Annotated:
        annotation, *rest = get_args(annotation)
        metadata = (*metadata, *rest)
    if get_origin(annotation) in (Union, types.UnionType):
        members = [_accepts(member, metadata, around) for member in get_args(annotation)]
        return {"any of": sorted(members, key=canonical_json)}
    kind = _kind(annotation, around)
    return kind if kind == _SCALARS[type(None)] else kind | _bounds(metadata)


def _bounds(metadata: tuple[Any, ...]) -> _Data:
    told: dict[str, list[Any]] = {}
    for name, limit in bounds_of(metadata).terms:
        told.setdefault(name, []).append(
            _canonical(limit) if name != "predicate" else _name_of(limit)
        )
    return {
        name: limits[0] if len(limits) == 1 else sorted(limits) for name, limits in told.items()
    }


def _name_of(predicate: Any) -> str:
    return f"{getattr(predicate, '__module__', '')}.{getattr(predicate, '__qualname__', type(predicate).__qualname__)}"


def _kind(annotation: Any, around: tuple[type, ...]) -> _Data:  # noqa: PLR0911  one return per kind
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if get_origin(annotation) is Literal:
        return _choice(get_args(annotation))
    if get_origin(annotation) in (tuple, Sequence, Mapping):
        return _container(annotation, around)
    if annotation is AttentionConfig:
        return {"is": "the config of any type"}
    if annotation in around:
        return {"is": f"the options around it, {len(around) - around.index(annotation)} levels up"}
    if is_schema(annotation):
        return {"options": _options(annotation, around)}
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _choice(tuple(member.value for member in annotation))
    raise TypeError(f"no kind is known for {annotation!r}")


def _choice(values: tuple[Any, ...]) -> _Data:
    return {"one of": sorted(values, key=canonical_json)}


def _container(annotation: Any, around: tuple[type, ...]) -> _Data:
    arguments = get_args(annotation)
    if get_origin(annotation) is Mapping:
        return {"values": _accepts(arguments[1], (), around)}
    if get_origin(annotation) is tuple and arguments[-1] is not Ellipsis:
        return {"each": [_accepts(argument, (), around) for argument in arguments]}
    return {"items": _accepts(arguments[0], (), around)}


def _canonical(value: Any) -> Any:
    """Return plain data such that equal numbers have one text: 1.0 is 1."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


_SCALARS: Mapping[Any, _Data] = {
    bool: {"is": "boolean"},
    int: {"is": "integer"},
    float: {"is": "number"},
    str: {"is": "text"},
    type(None): {"is": "none"},
    Any: {"is": "plain data"},
}
