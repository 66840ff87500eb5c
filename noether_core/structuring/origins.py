"""Configs of other implementations: their options under our names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from noether_core.errors import PluginError, Problem
from noether_core.plugins.imports import label
from noether_core.plugins.registry import Registry
from noether_core.plugins.running import import_code
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.origin import Origin
from noether_core.schemas.schema import Schema, plan_of
from noether_core.spelling import did_you_mean

REFERENCE: Final = "reference"
"""The public framework that our configs and weights are compatible with.

Every variant knows it: what a record does not say of it has the same name there and here.
"""


class LeftOut(NamedTuple):
    """An option that means nothing here."""

    name: str
    value: Any
    reason: str


class Translated(NamedTuple):
    """Options of another implementation under our names."""

    options: Mapping[Any, Any]

    names: Mapping[str | int, str]
    """Our names of options, each with the one that the source has."""

    left_out: tuple[LeftOut, ...] = ()

    problems: tuple[Problem, ...] = ()
    """Options that are given twice, under the names that the source has."""


def origin_of(type: str, name: str, registry: Registry) -> Origin:
    """Return what the variant of *type* says of the origin *name*.

    Raises:
        ValueError: If it knows no such origin.
        PluginError: If the plugin that provides it cannot be used.
    """
    entry = registry.provider(type)
    variant = registry.record(entry)
    path = variant.origins.get(name)
    if path is None:
        if name == REFERENCE:
            return Origin()
        known = sorted({REFERENCE, *variant.origins})
        near = did_you_mean(name, known) or f"it knows {', '.join(map(repr, known))}"
        raise ValueError(f"origin: {type!r} knows no {name!r}; {near}")
    found = import_code(path, entry)
    fault = _fault_of(found, variant.config)
    if fault is not None:
        raise PluginError(label(entry), f"{path} {fault}")
    origin: Origin = found
    return origin


def _fault_of(found: Any, config: type[AttentionConfig]) -> str | None:
    """Return why what a record names cannot be an origin of configs of class *config*."""
    if not isinstance(found, Origin):
        return "is no Origin"
    named = {*found.options.values(), *found.values, *found.defaults}
    unknown = sorted(named - plan_of(config).options)
    return f"names {', '.join(unknown)}, which is no option" if unknown else None


def translate(
    options: Mapping[Any, Any], cls: type[Schema], registry: Registry, name: str
) -> Translated:
    """Return the options of a config that was written for the origin *name*.

    Options whose ``type`` names no variant are returned as they are: it is all that can be said.

    Raises:
        ValueError: If the variant knows no such origin, or *cls* is no config of attention.
    """
    if not issubclass(cls, AttentionConfig):
        message = f"origin: {cls.__name__} is no config of attention, which alone has one"
        raise ValueError(message)  # noqa: TRY004  the class is what was asked for, and no origin fits
    default = None if cls is AttentionConfig else plan_of(cls).default_of("type")
    type_name = options.get("type", default)
    if type(type_name) is not str or not registry.providers(type_name):
        return Translated(options, {})
    return _translated(options, origin_of(type_name, name, registry))


def _translated(options: Mapping[Any, Any], origin: Origin) -> Translated:
    made: dict[Any, Any] = {}
    names: dict[str | int, str] = {}
    left_out: list[LeftOut] = []
    problems: list[Problem] = []
    for name, value in options.items():
        if name in origin.left_out:
            left_out.append(LeftOut(name, value, origin.left_out[name]))
            continue
        option = origin.options.get(name, name)
        if option in made:
            problems.append(_given_twice(name, value, names.get(option, option)))
            continue
        if option != name:
            names[option] = name
        if option not in origin.values:
            made[option] = value
        elif value is not None:
            made[option] = _value_of(value, origin.values[option])
    return Translated({**origin.defaults, **made}, names, tuple(left_out), tuple(problems))


def _value_of(value: Any, ours: Mapping[str, Any]) -> Any:
    """Return our value for one of the origin; another is left to the rule of the option."""
    return ours.get(value, value) if isinstance(value, str) else value


def _given_twice(name: Any, value: Any, first: str) -> Problem:
    return Problem(
        keys=(name,),
        message=f"means the same as {first}, which is given too",
        value=value,
        suggestion="keep one of them",
        at_key=True,
    )
