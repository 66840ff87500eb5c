"""What the annotation of an option allows, and what is wrong with a value that it does not."""

from __future__ import annotations

import enum
import math
import types
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
import attrs

from noether_core.errors import MOST_PROBLEMS, ConfigError, Problem, shown
from noether_core.schemas.frozen_mapping import FrozenMapping, freeze
from noether_core.spelling import did_you_mean

InitWeightsMode = Literal[
    "truncnormal002", "truncnormal002-identity", "truncnormal", "xavier", "zeros", "torch"
]
"""How weights start; see `noether_core.nn.init_weights_`."""


Backend = Literal["auto", "sdpa", "flex", "math"]
"""Kernel that computes attention; see `noether_core.nn.attend`."""


class Because(NamedTuple):
    """Why a field is bounded as it is; stands in ``Annotated`` and is appended to what the bound
    reports.

    ``use_rope: Annotated[Literal[False], Because("slices have no position to rotate")] = False``
    """

    reason: str


class Distinct(annotated_types.GroupedMetadata):
    """The items of a list differ from each other; stands in ``Annotated`` beside the bounds of
    ``annotated_types``.

    ``branches: Annotated[tuple[str, ...], MinLen(1), Distinct()]``
    """

    def __iter__(self) -> Iterator[annotated_types.BaseMetadata]:
        """Yield the predicate by which others that read ``annotated_types``, such as hypothesis,
        understand it.
        """
        yield annotated_types.Predicate(_are_distinct)


def _are_distinct(items: Sequence[Hashable]) -> bool:
    return len(set(items)) == len(items)


class Bounds(NamedTuple):
    """Everything that ``Annotated`` asks of a value beyond its type."""

    terms: tuple[tuple[str, Any], ...]
    """Names of bounds (ge, gt, le, lt, multiple_of, min_length, max_length, predicate, distinct)
    and their values.
    """

    holds: Callable[[Any], bool]
    """Whether a value is within all of them but ``distinct``, for which the items of a list must be
    sound first.
    """

    @property
    def are_distinct(self) -> bool:
        """Whether the items of a list must differ from each other."""
        return ("distinct", True) in self.terms

    def refine(self, noun: str) -> str:
        """Return *noun* with the bounds in words: ``an integer`` becomes ``an integer of at least
        1``.
        """
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
        words += [
            _PHRASES[name].format(getattr(limit, "__name__", limit))
            for name, limit in limits.items()
        ]
        return " ".join(words)


def bounds_of(metadata: Iterable[Any]) -> Bounds:
    """Return the bounds among the *metadata* of an ``Annotated``; what is no bound is left to its
    own readers.

    Raises:
        TypeError: If a bound of ``annotated_types`` is one that configs do not know.
    """
    terms = tuple(_tightest(_terms(metadata)))
    return Bounds(terms, _every([_TESTS[name](limit) for name, limit in terms if name in _TESTS]))


def _tightest(terms: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield *terms*; of a bound that an alias brings and its field repeats, the tighter one."""
    limits: dict[str, list[Any]] = {}
    for name, limit in terms:
        limits.setdefault(name, []).append(limit)
    for name, found in limits.items():
        chosen = [_CHOICE[name](found)] if name in _CHOICE else found
        yield from ((name, limit) for limit in chosen)


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
        raise TypeError(
            f"the bound {bound!r} is not understood; use one of {sorted(set(_NAMES.values()))}"
        )
    return name, getattr(bound, "func" if name == "predicate" else name)


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

_TESTS: dict[str, Callable[[Any], Callable[[Any], bool]]] = {
    "ge": lambda limit: lambda value: value >= limit,
    "gt": lambda limit: lambda value: value > limit,
    "le": lambda limit: lambda value: value <= limit,
    "lt": lambda limit: lambda value: value < limit,
    "multiple_of": lambda factor: lambda value: value % factor == 0,
    "min_length": lambda limit: lambda value: len(value) >= limit,
    "max_length": lambda limit: lambda value: len(value) <= limit,
    "predicate": lambda function: lambda value: bool(function(value)),
}

_CHOICE: dict[str, Callable[[list[Any]], Any]] = {
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


def _every(tests: list[Callable[[Any], bool]]) -> Callable[[Any], bool]:
    """Return the conjunction of *tests*; one and two of them, by far the most common, cost no loop."""
    match tests:
        case []:
            return lambda _: True
        case [test]:
            return test
        case [first, second]:
            return lambda value: first(value) and second(value)
    return lambda value: all(test(value) for test in tests)


_LEAST, _MOST = -(2**63), 2**63 - 1
"""Integers that TOML and tensors can hold; beyond them is no size of anything."""

Check = Callable[[Any], Any]


class Rule(NamedTuple):
    """What a field accepts."""

    expected: str
    """The values that pass, as a noun phrase: ``an integer of at least 1``."""

    check: Check
    """Returns the value in its canonical form, or raises a ConfigError with every problem in it."""


def rule_for(annotation: Any) -> Rule:
    """Return the rule that *annotation* spells.

    Booleans, integers, floats, text, None, literals, enums, tuples, sequences, mappings with text
    keys, schemas, unions of these and ``Any`` (plain data) are understood, with the bounds of
    ``annotated_types`` in ``Annotated``.

    Raises:
        TypeError: If the annotation is none of these, or mutable.
    """
    metadata: tuple[Any, ...] = ()
    if get_origin(annotation) is Annotated:
        annotation, *rest = get_args(annotation)
        metadata = tuple(rest)
    if get_origin(annotation) in (Union, types.UnionType):
        rule = _union_rule(get_args(annotation), metadata)
    else:
        rule = _bare_rule(annotation, bounds_of(metadata))
    reason = next((item.reason for item in metadata if isinstance(item, Because)), None)
    return rule if reason is None else _reasoned(rule, reason)


def _bare_rule(annotation: Any, bounds: Bounds) -> Rule:
    rule = _rule_of_kind(annotation, bounds)
    if bounds.terms and not _takes_bounds(annotation):
        raise TypeError(
            f"{annotation!r} takes no bounds; put them on the numbers, texts, lists and mappings in it"
        )
    if bounds.are_distinct and not _is_list(annotation):
        raise TypeError(f"{annotation!r} is no list, whose items could be distinct")
    return rule


def _takes_bounds(annotation: Any) -> bool:
    return (
        annotation in (int, float, str) or _is_list(annotation) or get_origin(annotation) is Mapping
    )


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is Sequence or get_args(annotation)[-1:] == (Ellipsis,)


def _rule_of_kind(annotation: Any, bounds: Bounds) -> Rule:
    origin = get_origin(annotation)
    if annotation in _SCALARS:
        return _SCALARS[annotation](bounds)
    if origin is Literal:
        return _literal_rule(get_args(annotation))
    if origin in (tuple, Sequence, Mapping) and get_args(annotation):
        return _container_rule(origin, get_args(annotation), bounds)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enum_rule(annotation)
    if is_schema(annotation):
        return _instance_rule(annotation)
    raise TypeError(
        f"no rule for the annotation {annotation!r}; use bool, int, float, str, None, Literal, an Enum, tuple, "
        "Sequence, Mapping[str, ...], a Schema or a union of these"
    )


def is_schema(annotation: Any) -> bool:
    """Return whether *annotation* is a class of configs."""
    return isinstance(annotation, type) and hasattr(annotation, "rule_of")


def holds_schema(annotation: Any) -> bool:
    """Return whether values of *annotation* are or hold configs."""
    return is_schema(annotation) or any(holds_schema(argument) for argument in get_args(annotation))


def refuse(expected: str, value: object, suggestion: str | None = None) -> ConfigError:
    """Return the error that *value* is not what was *expected*."""
    message = f"expected {expected}, got {shown(value)}"
    return ConfigError([Problem(message=message, value=value, suggestion=suggestion)])


def _boolean_rule(_: Bounds) -> Rule:
    expected = "true or false"

    def check(value: Any) -> Any:
        if value is True or value is False:
            return value
        raise refuse(expected, value)

    return Rule(expected, check)


def _integer_rule(bounds: Bounds) -> Rule:
    expected, holds = bounds.refine("an integer"), bounds.holds

    def check(value: Any) -> Any:
        if type(value) is not int or not holds(value):
            raise refuse(expected, value)
        if not _LEAST <= value <= _MOST:
            raise refuse(f"{expected} that fits into 64 bits", value)
        return value

    return Rule(expected, check)


def _float_rule(bounds: Bounds) -> Rule:
    expected, holds = bounds.refine("a number"), bounds.holds

    def check(value: Any) -> Any:
        number = value if type(value) is float else _exact_float(value)
        if number is None or not math.isfinite(number) or not holds(number):
            raise refuse(expected, value)
        return number or 0.0  # minus zero is zero

    return Rule(expected, check)


def _exact_float(value: Any) -> float | None:
    """Return an integer as the float of exactly its value, if there is one."""
    if type(value) is not int:
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if number == value else None


def _text_rule(bounds: Bounds) -> Rule:
    expected, holds = bounds.refine("text"), bounds.holds

    def check(value: Any) -> Any:
        if type(value) is str and holds(value):
            return value
        raise refuse(expected, value)

    return Rule(expected, check)


def _none_rule(_: Bounds) -> Rule:
    def check(value: Any) -> Any:
        if value is None:
            return None
        raise refuse("None", value)

    return Rule("None", check)


def _plain_rule(_: Bounds) -> Rule:
    return Rule("plain data", _frozen)


def _frozen(value: Any) -> Any:
    try:
        return freeze(value)
    except RecursionError:
        raise refuse("plain data of fewer levels", value) from None


_SCALARS: Mapping[Any, Callable[[Bounds], Rule]] = {
    bool: _boolean_rule,
    int: _integer_rule,
    float: _float_rule,
    str: _text_rule,
    type(None): _none_rule,
    Any: _plain_rule,
}


def _literal_rule(options: tuple[Any, ...]) -> Rule:
    expected = _alternatives([shown(option) for option in options])
    names = [option for option in options if isinstance(option, str)]
    members = {(type(option), option): option for option in options}

    def check(value: Any) -> Any:
        try:
            return members[type(value), value]
        except (KeyError, TypeError):  # TypeError: a list or mapping cannot be a member
            raise refuse(expected, value, did_you_mean(value, names)) from None

    return Rule(expected, check)


def _enum_rule(cls: type[enum.Enum]) -> Rule:
    by_value = _literal_rule(tuple(member.value for member in cls))

    def check(value: Any) -> Any:
        return value if isinstance(value, cls) else cls(by_value.check(value))

    return Rule(by_value.expected, check)


def _instance_rule(cls: type) -> Rule:
    expected = f"{'an' if cls.__name__[:1] in 'AEIOU' else 'a'} {cls.__name__}"

    def check(value: Any) -> Any:
        if isinstance(value, cls):
            return value
        raise refuse(expected, value)

    return Rule(expected, check)


def _union_rule(members: tuple[Any, ...], metadata: tuple[Any, ...]) -> Rule:
    """Return the rule of a union; bounds around it hold for each of its members but None."""
    some = [member for member in members if member is not type(None)]
    rules = [rule_for(Annotated[(member, *metadata)] if metadata else member) for member in some]
    has_none = len(some) < len(members)
    expected = _alternatives([rule.expected for rule in rules] + ["None"] * has_none)
    if len(rules) == 1 and is_schema(some[0]):  # a config tells its own problems
        return Rule(expected, _or_none(rules[0].check) if has_none else rules[0].check)
    return Rule(expected, _first_of([rule.check for rule in rules], expected, has_none=has_none))


def _or_none(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _first_of(checks: list[Check], expected: str, *, has_none: bool) -> Check:
    """Return the check that the first of *checks* to accept a value makes."""

    def check(value: Any) -> Any:
        if value is None and has_none:
            return None
        for attempt in checks:
            try:
                return attempt(value)
            except ConfigError:
                continue
        raise refuse(expected, value)

    return check


def _container_rule(origin: Any, arguments: tuple[Any, ...], bounds: Bounds) -> Rule:
    if origin is Mapping:
        return _mapping_rule(arguments, bounds)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return _fixed_tuple_rule(arguments)
    return _list_rule(rule_for(arguments[0]), bounds)


def _list_rule(item: Rule, bounds: Bounds) -> Rule:
    expected, holds = f"{bounds.refine('a list')}, each {item.expected}", bounds.holds

    def check(value: Any) -> Any:
        if not isinstance(value, (tuple, list)) or not holds(value):
            raise refuse(expected, value)
        return _checked_items(value, [item.check] * len(value), are_distinct=bounds.are_distinct)

    return Rule(expected, check)


def _fixed_tuple_rule(arguments: tuple[Any, ...]) -> Rule:
    items = [rule_for(argument) for argument in arguments]
    expected = f"a list of {len(items)}: " + ", ".join(item.expected for item in items)

    def check(value: Any) -> Any:
        if not isinstance(value, (tuple, list)) or len(value) != len(items):
            raise refuse(expected, value)
        return _checked_items(value, [item.check for item in items])

    return Rule(expected, check)


def _mapping_rule(arguments: tuple[Any, ...], bounds: Bounds) -> Rule:
    if arguments[0] is not str:
        raise TypeError(f"keys of a mapping must be annotated as str, not {arguments[0]!r}")
    item = rule_for(arguments[1])
    expected, holds = f"{bounds.refine('a mapping')}, each value {item.expected}", bounds.holds

    def check_entry(entry: tuple[Any, Any]) -> Any:
        if type(entry[0]) is not str:
            raise refuse("text for a key", entry[0])
        return item.check(entry[1])

    def check(value: Any) -> Any:
        if not isinstance(value, Mapping) or not holds(value):
            raise refuse(expected, value)
        checked = _checked_items(value.items(), [check_entry] * len(value), tuple(value))
        return FrozenMapping.of_frozen(dict(zip(value, checked, strict=True)))

    return Rule(expected, check)


def _checked_items(
    values: Any,
    checks: list[Check],
    keys: tuple[str | int, ...] | None = None,
    *,
    are_distinct: bool = False,
) -> tuple[Any, ...]:
    """Check every item, and raise all their problems at once, each under its key or position."""
    problems: list[Problem] = []
    checked: list[Any] = []
    seen: dict[Any, str | int] = {}
    for key, value, check in zip(keys or range(len(values)), values, checks, strict=True):
        if len(problems) > MOST_PROBLEMS:
            break
        try:
            checked.append(check(value))
        except ConfigError as error:
            problems.extend(problem.within(key) for problem in error.problems)
            continue
        if are_distinct and (first := seen.setdefault(checked[-1], key)) != key:
            message = f"repeats {shown(value)}, which stands at [{first}] already"
            problems.append(
                Problem(
                    keys=(key,), message=message, value=value, suggestion="leave one of them out"
                )
            )
    if problems:
        raise ConfigError(problems)
    return tuple(checked)


def _reasoned(rule: Rule, reason: str) -> Rule:
    def check(value: Any) -> Any:
        try:
            return rule.check(value)
        except ConfigError as error:
            told = [
                attrs.evolve(problem, message=f"{problem.message}: {reason}")
                for problem in error.problems
            ]
            raise ConfigError(told) from None

    return Rule(rule.expected, check)


def _alternatives(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " or " + phrases[-1]
