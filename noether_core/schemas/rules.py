"""What the annotation of an option allows, and what is wrong with a value that it does not."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import attrs

from noether_core.errors import MOST_PROBLEMS, ConfigError, Problem, shown
from noether_core.schemas.annotations import (
    is_enum,
    is_fixed_tuple,
    is_list,
    is_mapping,
    is_schema,
    is_union,
    without_metadata,
)
from noether_core.schemas.bounds import Because, Bounds, bounds_of
from noether_core.schemas.frozen_mapping import FrozenMapping, freeze, python_scalar

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
    bare, metadata = without_metadata(annotation)
    if is_union(bare):
        rule = _union_rule(get_args(bare), metadata)
    else:
        rule = _bounded_rule(bare, bounds_of(metadata))
    for item in metadata:
        if isinstance(item, Because):
            return _reasoned(rule, item.reason)
    return rule


def refuse(expected: str, value: object, suggestion: str | None = None) -> ConfigError:
    """Return the error that *value* is not what was *expected*."""
    message = f"expected {expected}, got {shown(value)}"
    return ConfigError([Problem(message=message, value=value, suggestion=suggestion)])


def _bounded_rule(annotation: Any, bounds: Bounds) -> Rule:
    """Return the rule of an annotation that is no union."""
    rule = _rule_of_kind(annotation, bounds)
    if bounds.terms and not _takes_bounds(annotation):
        raise TypeError(
            f"{annotation!r} takes no bounds; put them on the numbers, texts, lists and mappings "
            "in it"
        )
    if bounds.are_distinct and not is_list(annotation):
        raise TypeError(f"{annotation!r} is no list, whose items could be distinct")
    return rule


def _takes_bounds(annotation: Any) -> bool:
    return annotation in (int, float, str) or is_list(annotation) or is_mapping(annotation)


def _rule_of_kind(annotation: Any, bounds: Bounds) -> Rule:  # noqa: PLR0911  one return per kind
    if annotation in _SCALARS:
        return _SCALARS[annotation](bounds)
    if get_origin(annotation) is Literal:
        return _literal_rule(get_args(annotation))
    if is_list(annotation):
        return _list_rule(get_args(annotation)[0], bounds)
    if is_fixed_tuple(annotation):
        return _fixed_tuple_rule(get_args(annotation))
    if is_mapping(annotation):
        return _mapping_rule(get_args(annotation), bounds)
    if is_enum(annotation):
        return _enum_rule(annotation)
    if is_schema(annotation):
        return _instance_rule(annotation)
    raise TypeError(
        f"no rule for the annotation {annotation!r}; use bool, int, float, str, None, Literal, an "
        "Enum, tuple, Sequence, Mapping[str, ...], a Schema or a union of these"
    )


def _reasoned(rule: Rule, reason: str) -> Rule:
    """Return *rule*, whose problems end with a reason."""

    def check(value: Any) -> Any:
        try:
            return rule.check(value)
        except ConfigError as error:
            raise error.with_problems(
                attrs.evolve(problem, message=f"{problem.message}: {reason}")
                for problem in error.problems
            ) from None

    return Rule(rule.expected, check)


def _boolean_rule(_: Bounds) -> Rule:
    expected = "true or false"

    def check(value: Any) -> Any:
        if value is True or value is False:  # and no number that is equal to them
            return value
        plain = python_scalar(value)
        if plain is True or plain is False:
            return plain
        raise refuse(expected, value)

    return Rule(expected, check)


def _integer_rule(bounds: Bounds) -> Rule:
    expected, holds = bounds.refine("an integer"), bounds.holds

    def check(value: Any) -> Any:
        number = value if type(value) is int else python_scalar(value)
        if type(number) is not int or not holds(number):  # a boolean is an int, and no integer
            raise refuse(expected, value)
        if not _LEAST <= number <= _MOST:
            raise refuse(f"{expected} that fits into 64 bits", value)
        return number

    return Rule(expected, check)


def _float_rule(bounds: Bounds) -> Rule:
    expected, holds = bounds.refine("a number"), bounds.holds

    def check(value: Any) -> Any:
        number = value if type(value) is float else _exact_float(python_scalar(value))
        if number is None or not math.isfinite(number) or not holds(number):
            raise refuse(expected, value)
        return number or 0.0  # minus zero is zero

    return Rule(expected, check)


def _exact_float(value: Any) -> float | None:
    """Return a float as it is, and an integer as the float of its very value, if there is one."""
    if type(value) is float:
        return value
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
        text = value if type(value) is str else python_scalar(value)
        if type(text) is str and holds(text):
            return text
        raise refuse(expected, value)

    return Rule(expected, check)


def _none_rule(_: Bounds) -> Rule:
    def check(value: Any) -> Any:
        if value is None:
            return None
        raise refuse("None", value)

    return Rule("None", check)


def _plain_data_rule(_: Bounds) -> Rule:
    def check(value: Any) -> Any:
        try:
            return freeze(value)
        except RecursionError:
            raise refuse("plain data of fewer levels", value) from None

    return Rule("plain data", check)


_SCALARS: Mapping[Any, Callable[[Bounds], Rule]] = {
    bool: _boolean_rule,
    int: _integer_rule,
    float: _float_rule,
    str: _text_rule,
    type(None): _none_rule,
    Any: _plain_data_rule,
}


def _literal_rule(choices: tuple[Any, ...]) -> Rule:
    for choice in choices:
        if not _is_document_value(choice):
            raise TypeError(f"no document can hold {choice!r}; choose among text and numbers")
    expected = one_of([shown(choice) for choice in choices])
    names = [choice for choice in choices if isinstance(choice, str)]
    members = {(type(choice), choice): choice for choice in choices}  # since True equals 1

    def check(value: Any) -> Any:
        plain = value if type(value) is str else python_scalar(value)  # most choices are of text
        try:
            return members[type(plain), plain]
        except (KeyError, TypeError):  # TypeError: a list or mapping cannot be a member
            from noether_core.spelling import did_you_mean

            raise refuse(expected, value, did_you_mean(value, names)) from None

    return Rule(expected, check)


def _is_document_value(value: Any) -> bool:
    """Return whether a document of every format can hold a choice, which is compared exactly."""
    kind = type(value)  # members of an IntEnum are integers, and unlike those of documents
    if kind is int:
        return bool(_LEAST <= value <= _MOST)
    if kind is float:
        return math.isfinite(value)
    if kind is str:
        return not any("\ud800" <= char <= "\udfff" for char in value)  # UTF-8 has none of these
    return kind is bool or value is None


def _enum_rule(cls: type[enum.Enum]) -> Rule:
    if issubclass(cls, enum.Flag):
        raise TypeError(f"members of {cls!r} combine to values that are none of its own")
    if not len(cls):
        raise TypeError(f"{cls!r} has no members")
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
    others = [member for member in members if member is not type(None)]
    takes_none = len(others) < len(members)
    if metadata:
        rules = [rule_for(Annotated[(member, *metadata)]) for member in others]
    else:
        rules = [rule_for(member) for member in others]

    phrases = [rule.expected for rule in rules]
    expected = one_of([*phrases, "None"] if takes_none else phrases)
    check = _first_of([rule.check for rule in rules], expected)
    if len(rules) == 1 and is_schema(others[0]):
        check = rules[0].check  # a config reports its own problems
    return Rule(expected, _or_none(check) if takes_none else check)


def _or_none(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _first_of(checks: list[Check], expected: str) -> Check:
    """Return the check that accepts what any of *checks* does; the first of them decides."""

    def check(value: Any) -> Any:
        for attempt in checks:
            try:
                return attempt(value)
            except ConfigError:
                continue
        raise refuse(expected, value)

    return check


def _list_rule(annotation: Any, bounds: Bounds) -> Rule:
    item = rule_for(annotation)
    expected, holds = f"{bounds.refine('a list')}, each {item.expected}", bounds.holds

    def check(value: Any) -> Any:
        if not isinstance(value, (tuple, list)) or not holds(value):
            raise refuse(expected, value)
        checks = [item.check] * len(value)
        return _checked_items(enumerate(value), checks, are_distinct=bounds.are_distinct)

    return Rule(expected, check)


def _fixed_tuple_rule(arguments: tuple[Any, ...]) -> Rule:
    items = [rule_for(argument) for argument in arguments]
    checks = [item.check for item in items]
    expected = f"a list of {len(items)}: " + ", ".join(item.expected for item in items)

    def check(value: Any) -> Any:
        if not isinstance(value, (tuple, list)) or len(value) != len(checks):
            raise refuse(expected, value)
        return _checked_items(enumerate(value), checks)

    return Rule(expected, check)


def _mapping_rule(arguments: tuple[Any, ...], bounds: Bounds) -> Rule:
    key_annotation, annotation = arguments
    if key_annotation is not str:
        raise TypeError(f"keys of a mapping must be annotated as str, not {key_annotation!r}")
    item = rule_for(annotation)
    expected, holds = f"{bounds.refine('a mapping')}, each value {item.expected}", bounds.holds

    def check(value: Any) -> Any:
        if not isinstance(value, Mapping) or not holds(value):
            raise refuse(expected, value)
        checks = [item.check if type(key) is str else _refuse_key(key) for key in value]
        items = _checked_items(value.items(), checks)
        return FrozenMapping.of_frozen(dict(zip(value, items, strict=True)))

    return Rule(expected, check)


def _refuse_key(key: Any) -> Check:
    def check(_: Any) -> Any:
        raise refuse("text for a key", key)

    return check


def _checked_items(
    items: Iterable[tuple[Any, Any]], checks: Sequence[Check], *, are_distinct: bool = False
) -> tuple[Any, ...]:
    """Check every item, and raise all their problems at once, each under its key or position."""
    problems: list[Problem] = []
    checked: list[Any] = []
    first_keys: dict[Any, Any] = {}
    for (key, value), check in zip(items, checks, strict=True):
        if len(problems) > MOST_PROBLEMS:
            break
        try:
            item = check(value)
        except ConfigError as error:
            problems.extend(problem.within(key) for problem in error.problems)
            continue
        checked.append(item)
        if are_distinct and first_keys.setdefault(item, key) != key:
            problems.append(_repeat(key, value, first_keys[item]))
    if problems:
        raise ConfigError(problems)
    return tuple(checked)


def _repeat(key: int, value: Any, first: int) -> Problem:
    message = f"repeats {shown(value)}, which stands at [{first}] already"
    return Problem(keys=(key,), message=message, value=value, suggestion="leave one of them out")


def one_of(phrases: list[str]) -> str:
    """Return *phrases* as a choice: ``a, b or c``."""
    if len(phrases) == 1:
        return phrases[0]
    return ", ".join(phrases[:-1]) + " or " + phrases[-1]
