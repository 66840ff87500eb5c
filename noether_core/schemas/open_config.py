"""Families of configs: a literal ``type`` names the member, and the open one keeps every option."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeGuard, get_origin

import attrs

from noether_core.errors import ConfigError, Problem
from noether_core.schemas.frozen_mapping import EMPTY
from noether_core.schemas.rules import Check, Rule, rule_for
from noether_core.schemas.schema import Schema, plan_of
from noether_core.schemas.unstructure import fingerprint_of


# without fields, which would come before those of each family, in whose order configs are written
class OpenConfig(Schema):
    """The base of every family of configs.

    A direct subclass is the *open* config of its family. It has the fields ``type`` and ``extra``;
    its own subclasses are the *concrete* ones, each of one type.
    """

    __slots__ = ()

    plugin_group: ClassVar[str]
    """The group of entry points whose plugins provide the types; set by the open config alone."""

    if TYPE_CHECKING:
        type: str
        extra: Mapping[str, Any]

    def __init_subclass__(cls) -> None:
        """Note whether the class is the open config of a family."""
        # no part of its plan, which would be made for that alone: few make open configs
        super().__init_subclass__()
        cls.is_open_config = OpenConfig in cls.__bases__

    def fingerprint(self) -> str:
        """Return 64 hexadecimal digits that equal configs share in every process, everywhere."""
        return fingerprint_of(self)

    @classmethod
    def rule_of(cls, option: str, annotation: Any) -> Rule:
        """Return the rule of an option.

        ``type`` may name its distribution too, and ``extra`` hides no declared option.
        """
        rule = rule_for(annotation)
        if option == "type" and get_origin(annotation) is Literal:
            return Rule(rule.expected, _qualified(rule.check))
        if option == cls.extra_field:
            declared = frozenset(field.alias or field.name for field in attrs.fields(cls))
            return Rule(rule.expected, _undeclared(rule.check, declared))
        return rule


def is_open(cls: type[Schema]) -> TypeGuard[type[OpenConfig]]:
    """Return whether *cls* is the open config of a family, which stands for those of all types."""
    return cls.is_open_config


def with_extra(
    cls: type[OpenConfig], options: dict[str, Any], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Return *options* such that those which the open config *cls* does not know are in *extra*."""
    unknown = options.keys() - plan_of(cls).options
    kept = {name: options.pop(name) for name in tuple(options) if name in unknown}
    if kept and isinstance(extra, Mapping):
        extra = {**extra, **kept}
    return {**options, "extra": extra}


def open_configs_in(
    value: Any, keys: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], OpenConfig]]:
    """Yield every config of a family that *value* is or holds, each with its path."""
    if isinstance(value, OpenConfig):
        yield keys, value
    for key, item in _items_of(value):
        yield from open_configs_in(item, (*keys, key))


def _items_of(value: Any) -> Iterable[tuple[str | int, Any]]:
    """Return what a config, a mapping or a list holds, by option, key or position."""
    if isinstance(value, Schema):
        return [(field.option, getattr(value, field.name)) for field in plan_of(type(value)).fields]
    if isinstance(value, Mapping):
        return value.items()
    return enumerate(value) if isinstance(value, (list, tuple)) else ()


def _qualified(check: Check) -> Check:
    """Let a name stand behind the distribution that provides it: ``acme-attn:flare``."""

    def check_name(value: Any) -> Any:
        if not isinstance(value, str):
            return check(value)
        check(value.rpartition(":")[2])
        return value

    return check_name


def _undeclared(check: Check, declared: frozenset[str]) -> Check:
    """Refuse names of declared options, which would be read from the field and not from here."""

    def check_names(value: Any) -> Any:
        if value is EMPTY:
            return value
        names = value if isinstance(value, Mapping) else ()
        message = "is an option of its own and cannot stand among the extra ones"
        problems = [
            Problem(keys=(name,), message=message, at_key=True)
            for name in names
            if name in declared
        ]
        if problems:
            raise ConfigError(problems)
        return check(value)

    return check_names
