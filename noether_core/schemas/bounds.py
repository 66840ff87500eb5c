"""What may stand in ``Annotated`` beside a type: bounds, as tests and in words."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import annotated_types

Test = Callable[[Any], bool]


class Because(NamedTuple):
    """Why a field is bounded as it is; what the bound reports ends with it.

    ``use_rope: Annotated[Literal[False], Because("slices have no position to rotate")] = False``
    """

    reason: str


class Distinct(annotated_types.GroupedMetadata):
    """The items of a list differ from each other.

    ``branches: Annotated[tuple[str, ...], MinLen(1), Distinct()]``
    """

    def __repr__(self) -> str:
        return "Distinct()"

    def __iter__(self) -> Iterator[annotated_types.BaseMetadata]:
        """Yield the predicate by which other readers, such as hypothesis, understand it."""
        yield annotated_types.Predicate(_are_distinct)


def _are_distinct(items: Sequence[Hashable]) -> bool:
    return len(set(items)) == len(items)


class Bounds(NamedTuple):
    """Everything that ``Annotated`` asks of a value beyond its type."""

    terms: tuple[tuple[str, Any], ...]
    """Names of bounds and their values.

    Names are ge, gt, le, lt, multiple_of, min_length, max_length, predicate and distinct.
    """

    holds: Test
    """Whether a value is within all of them but ``distinct``.

    The items of a list must be sound before they can be compared.
    """

    @property
    def are_distinct(self) -> bool:
        """Whether the items of a list must differ from each other."""
        return ("distinct", True) in self.terms

    def refine(self, noun: str) -> str:
        """Return *noun* with the bounds in words: ``an integer of at least 1``."""
        limits = dict(self.terms)
        words = [noun]
        if "ge" in limits and "le" in limits:
            words.append(f"from {limits.pop('ge')} to {limits.pop('le')}")
        if "min_length" in limits and limits["min_length"] == limits.get("max_length"):
            words.append(f"of length {limits.pop('max_length')}")
            del limits["min_length"]
        if limits.get("min_length") == 1:
            words.append("that is not empty")
            del limits["min_length"]
        for name, limit in limits.items():
            words.append(_PHRASES[name].format(getattr(limit, "__name__", limit)))
        return " ".join(words)


def bounds_of(metadata: Iterable[Any]) -> Bounds:
    """Return the bounds among the *metadata* of an ``Annotated``.

    What is no bound is left to its own readers.

    Raises:
        TypeError: If a bound of ``annotated_types`` is one that configs do not know.
    """
    terms = tuple(_tightest(_terms(metadata)))
    tests = [_TESTS[name](limit) for name, limit in terms if name in _TESTS]
    return Bounds(terms, _all_of(tests))


def _tightest(terms: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield *terms*; of a bound that an alias brings and its field repeats, the tighter one."""
    limits: dict[str, list[Any]] = {}
    for name, limit in terms:
        limits.setdefault(name, []).append(limit)
    for name, found in limits.items():
        if name in _TIGHTEST:
            yield name, _TIGHTEST[name](found)
        else:
            yield from ((name, limit) for limit in found)


def _terms(metadata: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    for item in metadata:
        if isinstance(item, Distinct):
            yield "distinct", True
        elif isinstance(item, annotated_types.GroupedMetadata):
            yield from _terms(item)
        elif isinstance(item, annotated_types.BaseMetadata):
            yield _term(item)


def _term(bound: annotated_types.BaseMetadata) -> tuple[str, Any]:
    name = _NAMES.get(type(bound))
    if name is None:
        known = sorted(set(_NAMES.values()))
        raise TypeError(f"the bound {bound!r} is not understood; use one of {known}")
    return name, getattr(bound, "func" if name == "predicate" else name)


def _all_of(tests: list[Test]) -> Test:
    """Return the conjunction of *tests*."""
    match tests:  # none, one and two of them, by far the most common, cost no loop
        case []:
            return lambda _: True
        case [test]:
            return test
        case [first, second]:
            return lambda value: first(value) and second(value)
    return lambda value: all(test(value) for test in tests)


_NAMES = {
    annotated_types.Ge: "ge",
    annotated_types.Gt: "gt",
    annotated_types.Le: "le",
    annotated_types.Lt: "lt",
    annotated_types.MultipleOf: "multiple_of",
    annotated_types.MinLen: "min_length",
    annotated_types.MaxLen: "max_length",
    annotated_types.Predicate: "predicate",
}

_TESTS: dict[str, Callable[[Any], Test]] = {
    "ge": lambda limit: lambda value: value >= limit,
    "gt": lambda limit: lambda value: value > limit,
    "le": lambda limit: lambda value: value <= limit,
    "lt": lambda limit: lambda value: value < limit,
    "multiple_of": lambda factor: lambda value: value % factor == 0,
    "min_length": lambda limit: lambda value: len(value) >= limit,
    "max_length": lambda limit: lambda value: len(value) <= limit,
    "predicate": lambda function: lambda value: bool(function(value)),
}

_TIGHTEST: dict[str, Callable[[list[Any]], Any]] = {
    **dict.fromkeys(("ge", "gt", "min_length"), max),
    **dict.fromkeys(("le", "lt", "max_length"), min),
}

_PHRASES = {
    "ge": "of at least {}",
    "gt": "above {}",
    "le": "of at most {}",
    "lt": "below {}",
    "multiple_of": "that is a multiple of {}",
    "min_length": "of length {} or more",
    "max_length": "of length {} or less",
    "predicate": "that passes {}",
    "distinct": "without repeats",
}
