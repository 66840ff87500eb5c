"""Which small values an option accepts, going by its annotation; examples are made of them."""

from __future__ import annotations

import itertools
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from noether_core.schemas.annotations import (
    is_enum,
    is_fixed_tuple,
    is_list,
    is_mapping,
    is_union,
    without_metadata,
)
from noether_core.schemas.bounds import Bounds, bounds_of
from noether_core.schemas.rules import Check, rule_for
from noether_core.schemas.schema import Schema, plan_of

_SIZES = {"hidden_dim": 8, "num_heads": 2}
"""The width that every config requires, and its heads: their width is even, as rotation needs."""

_SMALL = 4
"""A small number of anything. One is too few: a softmax over one latent is constant, say."""

_FARTHEST = 64
"""How far from `_SMALL` whole numbers are tried that no bound names."""


def small_options(cls: type[Schema]) -> dict[str, Any]:
    """Return a small value of every required option of *cls* for which one is found."""
    plan = plan_of(cls)
    options: dict[str, Any] = {}
    for field in plan.fields:
        if field.option not in plan.required:
            continue
        usual = [_SIZES[field.option]] if field.option in _SIZES else []
        candidates = itertools.chain(usual, small_values(field.annotation))
        for value in itertools.islice(_accepted(candidates, field.check), 1):
            options[field.option] = value
    return options


def small_values(annotation: Any) -> Iterator[Any]:
    """Yield values that *annotation* may accept, as plain data, the best example first.

    Some may be out of bounds: what they are for, such as a predicate, cannot be known.
    """
    bare, metadata = without_metadata(annotation)
    if not is_union(bare):
        yield from _values_of_kind(bare, bounds_of(metadata))
        return
    # None says little, so it comes last
    for member in sorted(get_args(bare), key=lambda member: member is type(None)):
        yield from small_values(Annotated[(member, *metadata)] if metadata else member)


def _values_of_kind(annotation: Any, bounds: Bounds) -> Iterator[Any]:
    arguments = get_args(annotation)
    if annotation in _SCALARS:
        yield from _SCALARS[annotation](bounds)
    elif get_origin(annotation) is Literal:
        yield from arguments
    elif is_enum(annotation):
        yield from (member.value for member in annotation)
    elif is_fixed_tuple(annotation):
        yield [next(_accepted_items(item), None) for item in arguments]
    elif is_list(annotation):
        yield from _lists(arguments[0], bounds)
    elif is_mapping(annotation):
        yield _mapping(arguments[1], bounds)


def _integers(bounds: Bounds) -> Iterator[int]:
    yield from sorted(range(_FARTHEST), key=lambda number: abs(number - _SMALL))
    for limit in _limits(bounds):
        yield from (int(limit), int(limit) + 1, int(limit) - 1)


def _floats(bounds: Bounds) -> Iterator[float]:
    limits = [float(limit) for limit in _limits(bounds)]
    yield from (1.0, 0.5)
    if len(limits) > 1:
        yield (min(limits) + max(limits)) / 2
    for limit in limits:
        yield from (limit, limit + 1.0, limit - 1.0)


def _limits(bounds: Bounds) -> list[Any]:
    """Return the numbers that bounds name."""
    names = {"ge", "gt", "le", "lt", "multiple_of"}
    return [limit for name, limit in bounds.terms if name in names]


def _texts(bounds: Bounds) -> Iterator[str]:
    length = max(1, dict(bounds.terms).get("min_length", 1))
    for letter in string.ascii_lowercase:
        yield letter * length


def _lists(item: Any, bounds: Bounds) -> Iterator[list[Any]]:
    """Yield the shortest list with anything in it, its items different where there are so many."""
    length = max(1, dict(bounds.terms).get("min_length", 1))
    items = list(itertools.islice(_accepted_items(item), length))
    if items:
        yield [items[at % len(items)] for at in range(length)]
    yield []


def _mapping(item: Any, bounds: Bounds) -> dict[str, Any]:
    """Return the shortest mapping, with letters for keys."""
    length = dict(bounds.terms).get("min_length", 0)
    return dict.fromkeys(string.ascii_lowercase[:length], next(_accepted_items(item), None))


def _accepted_items(annotation: Any) -> Iterator[Any]:
    return _accepted(small_values(annotation), rule_for(annotation).check)


def _accepted(values: Iterable[Any], check: Check) -> Iterator[Any]:
    """Yield those of *values* that pass *check*."""
    for value in values:
        try:
            check(value)
        except Exception:  # noqa: BLE001, S112  a predicate may not expect every value
            continue
        yield value


_SCALARS: Mapping[Any, Callable[[Bounds], Iterable[Any]]] = {
    bool: lambda _: (False, True),
    int: _integers,
    float: _floats,
    str: _texts,
    type(None): lambda _: (None,),
    Any: lambda _: (None,),
}
