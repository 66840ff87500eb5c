"""Why a class cannot serve as a schema: its configs would go unchecked, or could not be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import attrs

from noether_core.errors import ConfigError, shown
from noether_core.schemas.annotations import is_schema
from noether_core.schemas.schema import Schema, plan_of


def faults_of(cls: Any) -> Iterator[str]:
    """Yield every reason for which *cls* cannot serve as a schema.

    Those of schemas that stand within its options are among them.
    """
    if not isinstance(cls, type) or not issubclass(cls, Schema):
        yield f"{shown(cls)} is no subclass of Schema"
        return
    if not _is_decorated(cls):
        yield _undecorated(cls)
        return

    name = cls.__qualname__
    yield from _faults_of_freezing(cls)
    if not attrs.inspect(cls).is_slotted:
        yield f"{name} is not slotted; drop slots=False"
    fields = [field for field in attrs.fields(cls) if field.init]
    positional = [str(field.alias) for field in fields if not field.kw_only]
    if positional:
        yield f"{name} is not keyword-only in {', '.join(positional)}; say kw_only=True"
    yield from _unsoundness_of(cls, {cls})


def _is_decorated(cls: type) -> bool:
    # attrs.has is true of its undecorated subclasses too
    return "__attrs_attrs__" in cls.__dict__


def _undecorated(cls: type[Schema]) -> str:
    return f"{cls.__qualname__} is not decorated; put @attrs.frozen(kw_only=True) above it"


def _faults_of_freezing(cls: type[Schema]) -> Iterator[str]:
    if not attrs.inspect(cls).is_frozen or cls.__setattr__ is not Schema.__setattr__:
        yield f"{cls.__qualname__} is not frozen; decorate it with @attrs.frozen(kw_only=True)"


def _unsoundness_of(cls: type[Schema], seen: set[type[Schema]]) -> Iterator[str]:
    """Yield what would make configs of *cls* wrong, or unlike what is written of them."""
    yield from _faults_of_comparison(cls)
    yield from _faults_of_names(cls)
    try:
        plan = plan_of(cls)
        if plan.nested:  # few configs hold configs, so that the others do without the import
            from noether_core.schemas.unions import ambiguities_in

            yield from ambiguities_in(cls)
    except TypeError as error:
        yield str(error)
        return
    yield from _faults_of_checking(cls)

    for field in plan.fields:
        for inner in _schemas_in(field.annotation):
            if inner in seen:
                continue
            seen.add(inner)
            if _is_decorated(inner):
                yield from _faults_of_freezing(inner)
                yield from _unsoundness_of(inner, seen)
            else:
                yield _undecorated(inner)


def _schemas_in(annotation: Any) -> Iterator[type[Schema]]:
    if is_schema(annotation):
        yield annotation
    for argument in get_args(annotation):
        yield from _schemas_in(argument)


def _faults_of_comparison(cls: type[Schema]) -> Iterator[str]:
    """Yield why equal configs might differ: caches and round trips go by equality."""
    name, properties = cls.__qualname__, attrs.inspect(cls)
    usual = attrs.inspect(Schema).hashability
    # one that is not frozen is not hashable either, which is said already
    if not properties.added_eq or (properties.is_frozen and properties.hashability is not usual):
        yield f"{name} compares or hashes in its own way; leave that to attrs"
    for field in attrs.fields(cls):
        if not field.init:
            yield (
                f"field '{field.alias}' of {name} is written and cannot be given; drop init=False"
            )
        if not field.eq or field.eq_key is not None or field.hash is False:
            yield (
                f"field '{field.alias}' of {name} is left out of comparisons, or compared by a "
                "key; drop eq= and hash="
            )


def _faults_of_names(cls: type[Schema]) -> Iterator[str]:
    """Yield options that would take the place of a member that every config has."""
    for field in attrs.fields(cls):
        if field.inherited:
            continue
        owner = cls.__mro__[1]
        for base in cls.__mro__[1:]:
            if _is_decorated(base):  # what has no fields only lends its members to those that have
                owner = base
            fields = {inherited.name for inherited in getattr(base, "__attrs_attrs__", ())}
            members = (vars(base).keys() - fields) | {base.__dict__.get("extra_field")}
            taken = sorted({field.name, field.alias} & members)
            if taken:
                yield (
                    f"field '{field.alias}' of {cls.__qualname__}: every {owner.__qualname__} has "
                    f"a member '{taken[0]}'; give it another name"
                )
                break


def _faults_of_checking(cls: type[Schema]) -> Iterator[str]:
    """Yield options that are not checked: a constructor of its own can forget to.

    What no option accepts is tried. Nothing is said of a class that cannot be called so.
    """
    if not _has_own_steps(cls):
        return
    plan = plan_of(cls)
    options = {field.option for field in plan.fields}
    nothing = object()
    try:
        cls(**dict.fromkeys(options, nothing))
        found: set[Any] = set()
    except ConfigError as error:
        found = {problem.keys[0] for problem in error.problems if problem.keys}
    except Exception as error:  # noqa: BLE001  whatever its author's code makes of such values
        yield (
            f"{cls.__qualname__} raises {type(error).__name__} before its options are checked; "
            "begin __attrs_post_init__ with super().__attrs_post_init__()"
        )
        return
    unchecked = sorted(options - found)
    if unchecked:
        yield (
            f"{cls.__qualname__} does not check {', '.join(unchecked)}; "
            "begin __attrs_post_init__ with super().__attrs_post_init__()"
        )


def _has_own_steps(cls: type[Schema]) -> bool:
    """Return whether anything of the class runs when a config is made."""
    properties = attrs.inspect(cls)
    if not (
        properties.is_frozen and properties.is_slotted
    ):  # a fault already; steps may rely on it
        return False
    post = cls.__attrs_post_init__
    return post is not Schema.__attrs_post_init__ or hasattr(cls, "__attrs_pre_init__")
