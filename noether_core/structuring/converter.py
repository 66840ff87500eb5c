"""Walks what can hold configs, lists and mappings of them; the only file that knows cattrs."""

from __future__ import annotations

import itertools
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

import cattrs

from noether_core.errors import MOST_PROBLEMS, ConfigError, Problem
from noether_core.schemas.rules import holds_schema, is_schema
from noether_core.schemas.schema import Schema

_Hook = Callable[[Any, Any], Any]


def new_converter(make: Callable[[Any, type[Schema]], Schema]) -> cattrs.Converter:
    """Return a converter that leaves every config to *make*, and every scalar to the rule of its
    field.

    All hooks are registered here, before first use: cattrs keeps stale ones when that happens while
    it structures.
    """
    converter = cattrs.Converter()
    converter.register_structure_hook_func(lambda _: True, lambda value, _: value)
    for holds, factory in _CONTAINERS:
        converter.register_structure_hook_factory(holds, factory)
    converter.register_structure_hook_func(is_schema, make)
    return converter


def _items_hook(annotation: Any, converter: cattrs.BaseConverter) -> _Hook:
    """Walk a list or a mapping whose items can hold configs; anything else is left to the rule of
    its field.
    """
    arguments = get_args(annotation)
    is_fixed = get_origin(annotation) is tuple and arguments[-1] is not Ellipsis
    kind = Mapping if get_origin(annotation) is Mapping else (list, tuple)

    def walk(value: Any, _: Any) -> Any:
        if not isinstance(value, kind) or (is_fixed and len(value) != len(arguments)):
            return value
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        items = arguments if is_fixed else itertools.repeat(arguments[1 if kind is Mapping else 0])
        made: dict[Any, Any] = {}
        problems: list[Problem] = []
        for (key, entry), item in zip(pairs, items, strict=False):
            try:
                made[key] = converter.structure(entry, item)
            except ConfigError as error:
                problems.extend(problem.within(key) for problem in error.problems)
                if len(problems) > MOST_PROBLEMS:
                    break
        if problems:
            raise ConfigError(problems)
        return made if isinstance(value, Mapping) else tuple(made.values())

    return walk


def _optional_hook(annotation: Any, converter: cattrs.BaseConverter) -> _Hook:
    """Make the config of ``SomeConfig | None``; other unions of configs are left to the rule of
    their field.
    """
    some = [member for member in get_args(annotation) if member is not type(None)]

    def make(value: Any, _: Any) -> Any:
        return value if value is None or len(some) > 1 else converter.structure(value, some[0])

    return make


def _annotated_hook(annotation: Any, converter: cattrs.BaseConverter) -> _Hook:
    bare = get_args(annotation)[0]
    return lambda value, _: converter.structure(value, bare)


_CONTAINERS: tuple[
    tuple[Callable[[Any], bool], Callable[[Any, cattrs.BaseConverter], _Hook]], ...
] = (
    (lambda cls: get_origin(cls) in (tuple, Sequence, Mapping) and holds_schema(cls), _items_hook),
    (lambda cls: get_origin(cls) in (Union, types.UnionType) and holds_schema(cls), _optional_hook),
    (lambda cls: get_origin(cls) is Annotated and holds_schema(cls), _annotated_hook),
)
