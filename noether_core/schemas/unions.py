"""Which config of a union a mapping stands for: a literal tag decides, or the options it has."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import attrs

from noether_core.errors import ConfigError, Problem, shown
from noether_core.schemas.annotations import (
    holds_schema,
    is_fixed_tuple,
    is_list,
    is_mapping,
    is_schema,
    is_union,
    without_metadata,
)
from noether_core.schemas.open_config import is_open
from noether_core.schemas.rules import one_of, refuse
from noether_core.schemas.schema import Schema, plan_of


@attrs.frozen
class Members:
    """The members of a union, by the data that stands for them."""

    configs: tuple[type[Schema], ...]
    mappings: tuple[Any, ...]
    lists: tuple[Any, ...]

    takes_anything: bool
    """Whether plain data of any kind is a member."""

    is_optional: bool
    """Whether there is one config, and None beside it."""


def members_of(annotation: Any) -> Members:
    """Return what a union is made of, unions within it included."""
    members = list(_flat(annotation))
    bare = [(member, without_metadata(member)[0]) for member in members]
    configs = tuple(kind for _, kind in bare if is_schema(kind))
    return Members(
        configs=configs,
        mappings=tuple(member for member, kind in bare if is_mapping(kind)),
        lists=tuple(member for member, kind in bare if is_list(kind) or is_fixed_tuple(kind)),
        takes_anything=Any in members,
        is_optional=len(configs) == 1 and set(members) <= {*configs, type(None)},
    )


def _flat(annotation: Any) -> Iterator[Any]:
    bare, _ = without_metadata(annotation)
    if not is_union(bare):
        yield annotation
        return
    for member in get_args(bare):
        yield from _flat(member)


def ambiguities_in(cls: type[Schema]) -> Iterator[str]:
    """Yield every option of *cls* that can be made and not be read again, and why."""
    for field in plan_of(cls).fields:
        for reason in ambiguities_of(field.annotation):
            yield f"field '{field.option}' of {cls.__qualname__}: {reason}"


def ambiguities_of(annotation: Any) -> Iterator[str]:
    """Yield why data cannot be read as *annotation*: unions whose members look the same."""
    if not holds_schema(annotation):
        return
    bare, _ = without_metadata(annotation)
    if is_union(bare):
        yield from _ambiguities_of_union(members_of(bare))
    for argument in get_args(bare):
        yield from ambiguities_of(argument)


def _ambiguities_of_union(members: Members) -> Iterator[str]:
    names = " and ".join(config.__name__ for config in members.configs)
    if members.takes_anything:
        yield "Any beside a config may be that config as well"
    if members.configs and members.mappings:
        yield f"a mapping may be the options of {names}, or one of its own"
    for kind, several in (("mapping", members.mappings), ("list", members.lists)):
        if len(several) > 1 and any(map(holds_schema, several)):
            yield f"a {kind} may be one of several; write one {kind} whose items are a union"
    if tag_of(members.configs) is None:
        for one, other in itertools.combinations(members.configs, 2):
            if not (_is_never(one, other) and _is_never(other, one)):
                yield (
                    f"options of {one.__name__} and {other.__name__} may be the same; give both a "
                    "field of one name with different literals, such as kind: Literal['a'] = 'a'"
                )


def _is_never(one: type[Schema], other: type[Schema]) -> bool:
    """Return whether what is written of a config of *one* can never be options of *other*."""
    plan, others = plan_of(one), plan_of(other)
    # an option that is None by default and None is not written
    written = {
        field.option
        for field in plan.fields
        if field.option in plan.options and field.default is not None
    }
    return bool(
        (not is_open(other) and written - _names_of(other)) or others.required - plan.options
    )


def tag_of(configs: Sequence[type[Schema]]) -> str | None:
    """Return the option by whose value configs differ, if they have one."""
    if not configs[1:]:
        return None
    for field in plan_of(configs[0]).fields:
        literals = [_literals_of(config, field.option) for config in configs]
        together = list(itertools.chain(*literals))
        if all(literals) and len(set(together)) == len(together):
            return field.option
    return None


def _literals_of(config: type[Schema], option: str) -> set[tuple[type, Any]]:
    """Return the values that an option has literals for, each with its class, since True is 1."""
    for field in plan_of(config).fields:
        bare, _ = without_metadata(field.annotation)
        if field.option == option and get_origin(bare) is Literal:
            return {(type(value), value) for value in get_args(bare)}
    return set()


def chosen(configs: Sequence[type[Schema]], options: Mapping[str, Any]) -> type[Schema]:
    """Return the config of which *options* are.

    Raises:
        ConfigError: If that is none of *configs*, or may be several.
    """
    tag = tag_of(configs)
    if tag is not None and tag in options:
        return _tagged(configs, tag, options[tag])

    misfits = {config: _misfits(config, options) for config in configs}
    fewest = min(misfits.values())
    nearest = [config for config in configs if misfits[config] == fewest]
    if len(nearest) == 1:  # if it does not fit, it is what was meant, and says what is wrong
        return nearest[0]
    names = " or ".join(config.__name__ for config in nearest)
    if fewest:
        raise refuse(f"options of {names}", options)
    way_out = "give more of its options" if tag is None else f"say which by {tag}"
    message = f"may be {names}: {shown(options)}"
    raise ConfigError([Problem(message=message, value=options, suggestion=way_out)])


def _tagged(configs: Sequence[type[Schema]], tag: str, value: Any) -> type[Schema]:
    for config in configs:
        try:
            plan_of(config).check(tag, value)
        except ConfigError:
            continue
        return config
    literals = [
        text for config in configs for _, text in sorted(_literals_of(config, tag), key=repr)
    ]
    error = refuse(one_of(list(map(shown, literals))), value)
    raise ConfigError(problem.within(tag) for problem in error.problems)


def _misfits(config: type[Schema], options: Mapping[str, Any]) -> int:
    """Return how many of *options* a config does not know, and how many that it needs it lacks."""
    plan = plan_of(config)
    given = {plan.renamed.get(name, name) for name in options}
    unknown = set() if is_open(config) else options.keys() - _names_of(config)
    return len(unknown) + len(plan.required - given)


def _names_of(config: type[Schema]) -> frozenset[str]:
    plan = plan_of(config)
    return plan.options | plan.renamed.keys() | plan.dropped.keys() | config.ignored_options
