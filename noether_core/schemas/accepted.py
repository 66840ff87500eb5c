"""What a config class accepts: as plain data, and as a hash that is the same everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from noether_core.schemas.annotations import (
    is_enum,
    is_fixed_tuple,
    is_list,
    is_mapping,
    is_schema,
    is_union,
    without_metadata,
)
from noether_core.schemas.bounds import bounds_of
from noether_core.schemas.frozen_mapping import EMPTY
from noether_core.schemas.open_config import is_open
from noether_core.schemas.schema import Field, Schema, plan_of
from noether_core.schemas.unstructure import unstructure

_Data = dict[str, Any]


def accepted_by(cls: type[Schema]) -> _Data:
    """Return the options of *cls*: what each accepts, and its default where it has one.

    Counted are names, types, bounds, choices and defaults, those of configs within included. Not
    counted are help, the order of fields, the spelling of annotations that mean the same, and rules
    across fields, which are code; a predicate counts by its name.
    """
    return _options(cls, ())


def schema_hash(accepted: Mapping[str, Any]) -> str:
    """Return the 64 hexadecimal digits that stand for what `accepted_by` returned."""
    import hashlib

    return hashlib.sha256(canonical_json(accepted).encode()).hexdigest()


def changes_between(
    before: Mapping[str, Any], here: Mapping[str, Any], renamed: Mapping[str, str] = EMPTY
) -> Iterator[str]:
    """Yield in words each option that is another *here* than *before*, sorted by name.

    Args:
        before: What a class accepted, as `accepted_by` returned it.
        here: What it accepts now.
        renamed: Old names of options, each with the name of today.
    """
    moved = {old: new for old, new in renamed.items() if old in before and new not in before}
    for name in sorted((before.keys() | here.keys()) - set(moved.values())):
        if name in moved:
            yield f"'{name}' is '{moved[name]}' now"
            yield from _changes_of(moved[name], before[name], here.get(moved[name]))
        elif name not in here:
            yield f"'{name}' is gone"
        elif name not in before:
            default = _default_in_words(here[name])
            yield f"'{name}' is new, {f'with {default}' if default else 'and required'}"
        else:
            yield from _changes_of(name, before[name], here[name])


def _changes_of(name: str, before: Any, here: Any) -> Iterator[str]:
    # compared as text: 1 and True are equal, and not the same
    if canonical_json(_accepts_in(before)) != canonical_json(_accepts_in(here)):
        yield f"'{name}' accepts other values"
    was = _default_in_words(before) or "no default"
    is_now = _default_in_words(here) or "no default"
    if was != is_now:
        yield f"'{name}' has {is_now} instead of {was}"


def _accepts_in(option: Any) -> Any:
    return option.get("accepts") if isinstance(option, Mapping) else option


def _default_in_words(option: Any) -> str | None:
    if not isinstance(option, Mapping) or "default" not in option:
        return None
    return f"the default {canonical_json(option['default'])}"


def canonical_json(data: Any) -> str:
    """Return the one text of plain data: sorted, without spaces, in ASCII."""
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), default=lambda value: type(value).__qualname__
    )


def _options(cls: type[Schema], around: tuple[type, ...]) -> _Data:
    """Return the options of a class; *around* are the classes that it stands in."""
    plan = plan_of(cls)
    options: _Data = {}
    for field in plan.fields:
        if field.option not in plan.options:
            continue
        options[field.option] = {"accepts": _accepted_by_field(field, (*around, cls))}
        if field.option not in plan.required:
            default = unstructure(field.default_value())
            options[field.option]["default"] = _canonical(default)
    return options


def _accepted_by_field(field: Field, around: tuple[type, ...]) -> _Data:
    try:
        return _accepted(field.annotation, (), around)
    except TypeError:  # the schema reads this annotation by a rule of its own, and has only words
        return {"is": field.expected}


def _accepted(annotation: Any, metadata: tuple[Any, ...], around: tuple[type, ...]) -> _Data:
    """Return what values of *annotation* are.

    Bounds around a union hold for each of its members but None.
    """
    bare, own_metadata = without_metadata(annotation)
    metadata = (*metadata, *own_metadata)
    if is_union(bare):
        members = [_accepted(member, metadata, around) for member in get_args(bare)]
        return {"any of": sorted(members, key=canonical_json)}
    kind = _kind(bare, around)
    return kind if bare is type(None) else kind | _bounds(metadata)


def _bounds(metadata: tuple[Any, ...]) -> _Data:
    limits: dict[str, list[Any]] = {}
    for name, limit in bounds_of(metadata).terms:
        plain = _name_of(limit) if name == "predicate" else _canonical(limit)
        limits.setdefault(name, []).append(plain)
    return {name: found[0] if len(found) == 1 else sorted(found) for name, found in limits.items()}


def _name_of(predicate: Any) -> str:
    module = getattr(predicate, "__module__", "")
    return f"{module}.{getattr(predicate, '__qualname__', type(predicate).__qualname__)}"


def _kind(annotation: Any, around: tuple[type, ...]) -> _Data:  # noqa: PLR0911  one return per kind
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if get_origin(annotation) is Literal:
        return _choice(get_args(annotation))
    if is_list(annotation):
        return {"items": _accepted(get_args(annotation)[0], (), around)}
    if is_fixed_tuple(annotation):
        return {"each": [_accepted(item, (), around) for item in get_args(annotation)]}
    if is_mapping(annotation):
        return {"values": _accepted(get_args(annotation)[1], (), around)}
    if is_schema(annotation) and is_open(annotation):
        return {"is": _OF_ANY_TYPE[annotation.plugin_group]}
    if annotation in around:  # a class that holds itself has no end
        return {"is": f"the options around it, {len(around) - around.index(annotation)} levels up"}
    if is_schema(annotation):
        return {"options": _options(annotation, around)}
    if is_enum(annotation):
        return _choice(tuple(member.value for member in annotation))
    raise TypeError(f"no kind is known for {annotation!r}")


def _choice(values: tuple[Any, ...]) -> _Data:
    return {"one of": sorted(values, key=canonical_json)}


def _canonical(value: Any) -> Any:
    """Return plain data such that equal numbers have one text: 1.0 is 1."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


_SCALARS: Mapping[Any, _Data] = {
    bool: {"is": "boolean"},
    int: {"is": "integer"},
    float: {"is": "number"},
    str: {"is": "text"},
    type(None): {"is": "none"},
    Any: {"is": "plain data"},
}

_OF_ANY_TYPE: Mapping[str, str] = {
    "noether.attention": "the config of any type",
    "noether.task": "the config of any task",
}
