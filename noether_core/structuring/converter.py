"""From mappings to configs, strictly; the only file that knows cattrs."""

from __future__ import annotations

import functools
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, overload

import cattrs

from noether_core.errors import ConfigError, Problem, shown
from noether_core.plugins import Registry
from noether_core.plugins import registry as default_registry
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.plain import plain
from noether_core.schemas.rules import is_schema, refuse
from noether_core.schemas.schema import Schema, plan_of, problems_of
from noether_core.spelling import did_you_mean

Unknown = Literal["error", "keep", "warn"]
"""What becomes of options that a config does not know: a problem, an entry of ``extra``, or that and a warning."""

_S = TypeVar("_S", bound=Schema)
_Hook = Callable[[Any, Any], Any]


@overload
def structure(source: Any, *, unknown: Unknown = "error", registry: Registry | None = None) -> AttentionConfig: ...
@overload
def structure(source: Any, cls: type[_S], *, unknown: Unknown = "error", registry: Registry | None = None) -> _S: ...
def structure(
    source: Any,
    cls: type[Schema] = AttentionConfig,
    *,
    unknown: Unknown = "error",
    registry: Registry | None = None,
) -> Schema:
    """Return the config that *source* describes.

    Nothing is coerced: text is no number, a boolean no integer, a fraction no integer, a string no list.

    Args:
        source: A mapping of options, or a config. A concrete config is given back.
        cls: What to make. For the default, the open attention config, ``type`` names the variant whose concrete config
            is made.
        unknown: What becomes of options that the config does not know. ``"keep"`` moves them into ``extra``, ``"warn"``
            does so with a warning.
        registry: Where types are looked up; the process-wide one where it is None.

    Raises:
        ConfigError: If anything is wrong with it; `ConfigError.problems` holds everything that is.
        UnknownTypeError: If no installed package provides a type.
        AmbiguousTypeError: If several do.
        PluginError: If the package that does cannot be used.
    """
    if unknown not in get_args(Unknown):
        raise ValueError(f"unknown: expected one of {get_args(Unknown)}, got {unknown!r}")
    return _converter(default_registry() if registry is None else registry, unknown).structure(source, cls)


def unstructure(config: Schema, *, defaults: bool = True) -> dict[str, Any]:
    """Return *config* as a plain dict, ``type`` first, ready for YAML, TOML and JSON.

    Args:
        config: The config.
        defaults: Whether options that hold their default are written out. One that is None by default and None is left
            out in any case.
    """
    options: dict[str, Any] = plain(config, defaults=defaults)
    return options


@functools.lru_cache(maxsize=64)
def _converter(registry: Registry, unknown: Unknown) -> cattrs.Converter:
    """Return a converter that hands scalars through, since configs check them, and walks what can hold configs."""
    converter = cattrs.Converter()
    converter.register_structure_hook_func(lambda _: True, lambda value, _: value)
    for holds, factory in _CONTAINERS:
        converter.register_structure_hook_factory(holds, factory)
    converter.register_structure_hook_factory(is_schema, lambda cls: _SchemaHook(cls, unknown, converter))
    converter.register_structure_hook_func(
        lambda cls: cls is AttentionConfig, lambda source, _: _structure_attention(source, registry, converter)
    )
    return converter


def _structure_attention(source: Any, registry: Registry, converter: cattrs.Converter) -> Any:
    """Make the concrete config of the variant that ``type`` names."""
    if isinstance(source, AttentionConfig) and type(source) is not AttentionConfig:
        return source
    options = _options_of(source)
    try:
        config = registry.get(_type_of(options, registry)).config
    except ConfigError as error:
        others = problems_of(AttentionConfig, options, frozenset({"type"}))
        raise error.with_problems([*error.problems, *others]) from None
    return converter.structure(options, config)


def _type_of(options: Mapping[str, Any], registry: Registry) -> str:
    name = options.get("type")
    if type(name) is str:
        return name
    wanted = "the name of an attention variant"
    message = f"expected {wanted}, got {shown(name)}" if "type" in options else f"missing: {wanted} is required"
    suggestion = f"Installed: {', '.join(registry.types()) or 'none'}."
    raise ConfigError([Problem(keys=("type",), message=message, value=name, suggestion=suggestion)])


class _SchemaHook:
    """Makes configs of one class from mappings."""

    def __init__(self, cls: type[Schema], unknown: Unknown, converter: cattrs.Converter) -> None:
        plan = plan_of(cls)
        self._cls = cls
        self._unknown = unknown
        self._converter = converter
        self._options = plan.options
        self._required = plan.required
        self._nested = {field.option: field.annotation for field in plan.fields if _holds_schema(field.annotation)}

    def __call__(self, source: Any, _: Any) -> Schema:
        if isinstance(source, self._cls):
            return source
        options = dict(_options_of(source))
        stray = [] if options.keys() <= self._options else self._set_aside(options)
        nested = self._structure_nested(options) if self._nested else []
        if stray or nested or not self._required <= options.keys():
            unsound = frozenset(str(problem.keys[0]) for problem in nested)
            raise ConfigError([*nested, *problems_of(self._cls, options, unsound), *stray])
        return self._cls(**options)

    def _set_aside(self, options: dict[str, Any]) -> list[Problem]:
        """Take what is no option out of *options*; return the problems, or keep it in the field for extra ones."""
        stray = {name: options.pop(name) for name in tuple(options) if name not in self._options}
        unknown = {name: value for name, value in stray.items() if name not in self._cls.ignored_options}
        problems = [self._unknown_problem(name, value) for name, value in unknown.items()]
        if self._unknown == "error" or self._cls.extra_field is None or not unknown:
            return problems
        if self._unknown == "warn":
            warnings.warn("\n".join(map(str, problems)), UserWarning, stacklevel=6)
        options[self._cls.extra_field] = unknown
        return []

    def _unknown_problem(self, name: Any, value: Any) -> Problem:
        is_attention = issubclass(self._cls, AttentionConfig)
        owner = repr(plan_of(self._cls).default_of("type")) if is_attention else self._cls.__name__
        return Problem(
            keys=(name if isinstance(name, (str, int)) else shown(name),),
            message=f"unknown option of {owner}",
            value=value,
            suggestion=did_you_mean(name, self._options),
            at_key=True,
        )

    def _structure_nested(self, options: dict[str, Any]) -> list[Problem]:
        """Make the configs that *options* hold, in place; return their problems."""
        problems: list[Problem] = []
        for name, annotation in self._nested.items():
            if name in options:
                try:
                    options[name] = self._converter.structure(options[name], annotation)
                except ConfigError as error:
                    problems.extend(problem.within(name) for problem in error.problems)
        return problems


def _options_of(source: Any) -> Mapping[Any, Any]:
    if type(source) is dict:
        return source
    if isinstance(source, Schema):
        return unstructure(source)
    if isinstance(source, Mapping):
        return source
    raise refuse("a mapping of options", source)


def _holds_schema(annotation: Any) -> bool:
    return is_schema(annotation) or any(_holds_schema(argument) for argument in get_args(annotation))


def _items_hook(annotation: Any, converter: cattrs.BaseConverter) -> _Hook:
    """Walk a list or a mapping whose items can hold configs; anything else is left to the rule of its field."""
    item = get_args(annotation)[1 if get_origin(annotation) is Mapping else 0]
    kind = Mapping if get_origin(annotation) is Mapping else (list, tuple)

    def walk(value: Any, _: Any) -> Any:
        if not isinstance(value, kind):
            return value
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        made: dict[Any, Any] = {}
        problems: list[Problem] = []
        for key, entry in pairs:
            try:
                made[key] = converter.structure(entry, item)
            except ConfigError as error:
                problems.extend(problem.within(key) for problem in error.problems)
        if problems:
            raise ConfigError(problems)
        return made if isinstance(value, Mapping) else tuple(made.values())

    return walk


def _optional_hook(annotation: Any, converter: cattrs.BaseConverter) -> _Hook:
    """Make the config of ``SomeConfig | None``; other unions of configs are left to the rule of their field."""
    some = [member for member in get_args(annotation) if member is not type(None)]

    def make(value: Any, _: Any) -> Any:
        return value if value is None or len(some) > 1 else converter.structure(value, some[0])

    return make


def _annotated_hook(annotation: Any, converter: cattrs.BaseConverter) -> _Hook:
    bare = get_args(annotation)[0]
    return lambda value, _: converter.structure(value, bare)


_CONTAINERS: tuple[tuple[Callable[[Any], bool], Callable[[Any, cattrs.BaseConverter], _Hook]], ...] = (
    (lambda cls: get_origin(cls) in (tuple, Sequence, Mapping) and _holds_schema(cls), _items_hook),
    (lambda cls: get_origin(cls) in (Union, types.UnionType) and _holds_schema(cls), _optional_hook),
    (lambda cls: get_origin(cls) is Annotated and _holds_schema(cls), _annotated_hook),
)
