"""From mappings to configs and back; the one file that knows cattrs."""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    overload,
)

import cattrs

from noether_core.errors import MOST_PROBLEMS, ConfigError, Problem, shown
from noether_core.plugins.registry import Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.plugins.resolution import installed_types, owners
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.plain import plain
from noether_core.schemas.rules import holds_schema, is_schema, refuse
from noether_core.schemas.schema import Schema, plan_of, problems_of
from noether_core.spelling import did_you_mean

if TYPE_CHECKING:
    from noether_core.structuring.documents import Document
    from noether_core.structuring.paths import Overridden

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


Unknown = Literal["error", "keep", "warn"]
"""What becomes of options that a config does not know: a problem, an entry of ``extra``, or that
and a warning.
"""


_S = TypeVar("_S", bound=Schema)
_UNKNOWN = frozenset(get_args(Unknown))


@overload
def structure(
    source: Any, *, unknown: Unknown = "error", registry: Registry | None = None
) -> AttentionConfig: ...
@overload
def structure(
    source: Any, cls: type[_S], *, unknown: Unknown = "error", registry: Registry | None = None
) -> _S: ...
def structure(
    source: Any,
    cls: type[Schema] = AttentionConfig,
    *,
    unknown: Unknown = "error",
    registry: Registry | None = None,
) -> Schema:
    """Return the config that *source* describes.

    Nothing is coerced: text is no number, a boolean no integer, a fraction no integer, a string no
    list.

    Args:
        source: A mapping of options, OmegaConf's among them, or a config. A concrete config is
            given back.
        cls: What to make. For the default, the open attention config, ``type`` names the variant
            whose concrete config is made.
        unknown: What becomes of options that the config does not know. ``"keep"`` moves them into
            ``extra``, ``"warn"`` does so with a warning.
        registry: Where types are looked up; the process-wide one where it is None.

    Raises:
        ConfigError: If anything is wrong with it; `ConfigError.problems` holds everything that is,
            types of configs within it included.
        UnknownTypeError: If no installed package provides its own type.
        AmbiguousTypeError: If several do.
        PluginError: If the package that does cannot be used.
    """
    known = default_registry() if registry is None else registry
    if unknown == "warn":
        return or_warn(lambda choice: structure(source, cls, unknown=choice, registry=known))
    make = _structurer(known, unknown).make
    return (
        make(source, cls)
        if "omegaconf" not in sys.modules
        else _structure_resolved(source, cls, make)
    )


def _structure_resolved(
    source: Any, cls: type[Schema], make: Callable[[Any, type[Schema]], Schema]
) -> Schema:
    from noether_core.structuring.omegaconf import from_resolved

    return from_resolved(source, lambda data: make(data, cls))


def structure_document(
    document: Document | Overridden,
    cls: type[_S],
    *,
    unknown: Unknown = "error",
    registry: Registry | None = None,
) -> _S:
    """Return the config that a document describes; its problems carry file, line and column.

    Raises:
        ConfigError: If anything is wrong with it.
        PluginError: If the package that provides a type cannot be used.
    """
    if unknown == "warn":
        return or_warn(
            lambda choice: structure_document(document, cls, unknown=choice, registry=registry)
        )
    try:
        return structure(document.data, cls, unknown=unknown, registry=registry)
    except ConfigError as error:
        raise error.with_problems(document.locate(problem) for problem in error.problems) from None


def unstructure(config: Schema, *, defaults: bool = True) -> dict[str, Any]:
    """Return *config* as a plain dict, ``type`` first, ready for YAML, TOML and JSON.

    Args:
        config: The config.
        defaults: Whether options that hold their default are written out. One that is None by
            default and None is left out in any case.
    """
    options: dict[str, Any] = plain(config, defaults=defaults)
    return options


def or_warn(make: Callable[[Unknown], _S]) -> _S:
    """Return what *make* makes without unknown options, or with them kept and a warning that names
    them.
    """
    try:
        return make("error")
    except ConfigError as error:
        config = make("keep")  # which raises whatever else is wrong
        warnings.warn(str(error), UserWarning, stacklevel=_level_of_caller())
        return config


@functools.lru_cache(maxsize=64)
def _structurer(registry: Registry, unknown: Unknown) -> _Structurer:
    if unknown not in _UNKNOWN:
        raise ValueError(f"unknown: expected one of {sorted(_UNKNOWN)}, got {unknown!r}")
    return _Structurer(registry, unknown)


class _Structurer:
    """Makes configs of any class; attention configs by asking a registry at each call, since types
    come and go.
    """

    def __init__(self, registry: Registry, unknown: Unknown) -> None:
        self.unknown = unknown
        self.registry = registry
        self._makers: dict[type[Schema], _Maker] = {}

    def make(self, source: Any, cls: type[Schema]) -> Schema:
        """Return the *cls* that *source* describes."""
        if type(source) is not dict:
            if isinstance(source, Schema) and _is_one(source, cls):
                return source
            source = _options_of(source)
        if cls is AttentionConfig:
            cls = self._concrete_class(source)
        maker = self._makers.get(cls)
        if maker is None:
            maker = self._makers[cls] = _Maker(cls, self)
        return maker.make(source)

    @functools.cached_property
    def converter(self) -> cattrs.Converter:
        """What walks lists and mappings of configs; most configs hold none and never need it."""
        return new_converter(self.make)

    def _concrete_class(self, options: Mapping[str, Any]) -> type[AttentionConfig]:
        """Return the config class of the variant that ``type`` names."""
        try:
            return self.registry.get(_type_of(options, self.registry)).config
        except ConfigError as error:
            others = problems_of(AttentionConfig, options, frozenset({"type"}))
            raise error.with_problems([*error.problems, *others]) from None


def _is_one(source: Schema, cls: type[Schema]) -> bool:
    """Return whether *source* is a config of *cls*; the open one is not, nor one of a variant that
    inherits *cls*.
    """
    if not isinstance(source, cls) or type(source) is AttentionConfig:
        return False
    if type(source) is cls or cls is AttentionConfig or not isinstance(source, AttentionConfig):
        return True
    try:
        plan_of(cls).check("type", source.type)
    except ConfigError:
        return False
    return True


def _type_of(options: Mapping[str, Any], registry: Registry) -> str:
    name = options.get("type")
    if type(name) is str:
        return name
    wanted = "the name of an attention variant"
    message = (
        f"expected {wanted}, got {shown(name)}"
        if "type" in options
        else f"missing: {wanted} is required"
    )
    suggestion = installed_types(registry.types())
    raise ConfigError([Problem(keys=("type",), message=message, value=name, suggestion=suggestion)])


class _Maker:
    """Makes configs of one class."""

    def __init__(self, cls: type[Schema], structurer: _Structurer) -> None:
        plan = plan_of(cls)
        self._cls = cls
        self._structurer = structurer
        self._options = plan.options
        self._required = plan.required
        self._extra = cls.extra_field
        self._nested = {
            field.option: field.annotation
            for field in plan.fields
            if holds_schema(field.annotation)
        }
        self._is_strict = not self._nested and "__attrs_init__" not in vars(cls)

    def make(self, source: Mapping[str, Any]) -> Schema:
        """Return the config, or raise everything that is wrong with *source*."""
        if self._is_strict and self._extra not in source:
            try:
                return self._cls(**source)
            except TypeError:
                pass  # an option is missing or strange: all that is wrong is told below
        return self._make_with_care(source)

    def _make_with_care(self, source: Mapping[str, Any]) -> Schema:
        options = dict(source)
        stray = [] if options.keys() <= self._options else self._set_aside(options)
        nested = self._structure_nested(options) if self._nested else []
        if stray or nested or not self._required <= options.keys():
            unsound = frozenset(str(problem.keys[0]) for problem in nested)
            raise ConfigError([*nested, *problems_of(self._cls, options, unsound), *stray])
        return self._cls(**options)

    def _set_aside(self, options: dict[str, Any]) -> list[Problem]:
        """Take what is no option out of *options*; return the problems, or keep it in the field for
        extra ones.
        """
        stray = {name: options.pop(name) for name in tuple(options) if name not in self._options}
        unknown = {
            name: value for name, value in stray.items() if name not in self._cls.ignored_options
        }
        told = itertools.islice(unknown.items(), MOST_PROBLEMS + 1)
        problems = [self._unknown_problem(name, value) for name, value in told]
        if self._structurer.unknown == "error" or self._extra is None or not unknown:
            return problems
        options[self._extra] = unknown
        return []

    def _unknown_problem(self, name: Any, value: Any) -> Problem:
        is_attention = issubclass(self._cls, AttentionConfig)
        owner = repr(plan_of(self._cls).default_of("type")) if is_attention else self._cls.__name__
        return Problem(
            keys=(name if isinstance(name, (str, int)) else shown(name),),
            message=f"unknown option of {owner}",
            value=value,
            suggestion=self._suggestion(name)
            if is_attention
            else did_you_mean(name, self._options),
            at_key=True,
        )

    def _suggestion(self, name: Any) -> str | None:
        """Return whose option an unknown one is, or else which of this variant's it resembles."""
        belongs = (
            owners(name, self._structurer.registry.types_with(name)) if type(name) is str else None
        )
        return belongs or did_you_mean(name, self._options)

    def _structure_nested(self, options: dict[str, Any]) -> list[Problem]:
        """Make the configs that *options* hold, in place; return their problems."""
        problems: list[Problem] = []
        for name, annotation in self._nested.items():
            if name in options:
                try:
                    options[name] = self._structurer.converter.structure(options[name], annotation)
                except ConfigError as error:
                    problems.extend(problem.within(name) for problem in error.problems)
        return problems


def _level_of_caller() -> int:
    """Return how far up the stack the call from outside stands, however deep configs lie in each
    other.
    """
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in {
        "noether_core",
        "cattrs",
    }:
        frame, level = frame.f_back, level + 1
    return level


def _options_of(source: Any) -> Mapping[Any, Any]:
    if isinstance(source, Schema):
        return unstructure(source)
    if isinstance(source, Mapping):
        return source
    raise refuse("a mapping of options", source)
