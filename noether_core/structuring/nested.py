"""Configs within options: in lists, mappings and unions; the one file that knows cattrs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, get_args, get_origin

import cattrs

from noether_core.errors import MOST_PROBLEMS, ConfigError, Problem
from noether_core.schemas.annotations import (
    holds_schema,
    is_fixed_tuple,
    is_list,
    is_mapping,
    is_schema,
    is_union,
)
from noether_core.schemas.schema import Schema
from noether_core.schemas.unions import chosen, members_of

_Hook = Callable[[Any, Any], Any]


def new_converter(make: Callable[[Any, type[Schema]], Schema]) -> cattrs.Converter:
    """Return a converter that leaves every config to *make*, and every scalar to its field's rule.

    Containers that hold no config are left to the rule of their field as well.
    """
    # All hooks are registered here, before first use: cattrs keeps stale ones for ever when that
    # happens while another thread structures.
    converter = cattrs.Converter()
    converter.register_structure_hook_func(lambda _: True, lambda value, _: value)
    converter.register_structure_hook_factory(_is_list_of_configs, _list_hook)
    converter.register_structure_hook_factory(_is_mapping_of_configs, _mapping_hook)
    converter.register_structure_hook_factory(_is_union_of_configs, _union_hook)
    converter.register_structure_hook_factory(_is_annotated_config, _annotated_hook)
    converter.register_structure_hook_func(is_schema, make)
    return converter


def _is_list_of_configs(annotation: Any) -> bool:
    return (is_list(annotation) or is_fixed_tuple(annotation)) and holds_schema(annotation)


def _is_mapping_of_configs(annotation: Any) -> bool:
    return is_mapping(annotation) and holds_schema(annotation)


def _is_union_of_configs(annotation: Any) -> bool:
    return is_union(annotation) and holds_schema(annotation)


def _is_annotated_config(annotation: Any) -> bool:
    return get_origin(annotation) is Annotated and holds_schema(annotation)


def _list_hook(annotation: Any, converter: cattrs.BaseConverter) -> _Hook:
    arguments = get_args(annotation)
    is_fixed = is_fixed_tuple(annotation)

    def make(value: Any, _: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return value
        if is_fixed and len(value) != len(arguments):
            return value  # the field's rule says how many there must be
        annotations = arguments if is_fixed else itertools.repeat(arguments[0])
        made = _structured(enumerate(value), annotations, converter)
        return tuple(made.values())

    return make


def _mapping_hook(annotation: Any, converter: cattrs.BaseConverter) -> _Hook:
    _, item = get_args(annotation)

    def make(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return _structured(value.items(), itertools.repeat(item), converter)

    return make


def _structured(
    items: Iterable[tuple[Any, Any]], annotations: Iterable[Any], converter: cattrs.BaseConverter
) -> dict[Any, Any]:
    """Return every item structured, or raise all their problems, each under its key."""
    made: dict[Any, Any] = {}
    problems: list[Problem] = []
    for (key, item), annotation in zip(items, annotations, strict=False):
        try:
            made[key] = converter.structure(item, annotation)
        except ConfigError as error:
            problems.extend(problem.within(key) for problem in error.problems)
            if len(problems) > MOST_PROBLEMS:
                break
    if problems:
        raise ConfigError(problems)
    return made


def _union_hook(annotation: Any, converter: cattrs.BaseConverter) -> _Hook:
    """Make the member that a value looks like; what looks like none is left to the field's rule."""
    members = members_of(annotation)

    def make(value: Any, _: Any) -> Any:
        if isinstance(value, Schema):
            member = _class_of(value, members.configs)
        elif members.is_optional:
            member = None if value is None else members.configs[0]
        elif isinstance(value, Mapping) and members.configs:
            member = chosen(members.configs, value)
        elif isinstance(value, Mapping):
            member = next(iter(members.mappings), None)
        elif isinstance(value, (list, tuple)):
            member = next(iter(members.lists), None)
        else:
            member = None
        return value if member is None else converter.structure(value, member)

    return make


def _class_of(config: Schema, members: Iterable[type[Schema]]) -> type[Schema] | None:
    """Return the member that a config is of: its own class, or else the first of its bases."""
    bases = [member for member in members if isinstance(config, member)]
    return type(config) if type(config) in bases else next(iter(bases), None)


def _annotated_hook(annotation: Any, converter: cattrs.BaseConverter) -> _Hook:
    bare, *_ = get_args(annotation)
    return lambda value, _: converter.structure(value, bare)
