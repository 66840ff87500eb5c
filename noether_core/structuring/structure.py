"""From a mapping of options, or a document that holds one, to a config."""

from __future__ import annotations

import functools
import inspect
import itertools
import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    NamedTuple,
    TypeGuard,
    TypeVar,
    get_args,
    overload,
)

import attrs

from noether_core.errors import (
    MOST_PROBLEMS,
    ConfigError,
    OutdatedOptionWarning,
    Problem,
    shown,
)
from noether_core.plugins.registry import RecordRegistry, Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.schemas.annotations import is_schema
from noether_core.schemas.frozen_mapping import FrozenMapping
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.open_config import OpenConfig, is_open
from noether_core.schemas.rules import refuse
from noether_core.schemas.schema import Schema, plan_of, problems_of
from noether_core.schemas.unstructure import unstructure

if TYPE_CHECKING:
    import cattrs

    from noether_core.structuring.paths import AnyDocument

Unknown = Literal["error", "keep", "warn"]
"""What becomes of options that a config does not know.

They are problems, or entries of ``extra``, or that and a warning.
"""

_S = TypeVar("_S", bound=Schema)
_MOST_OPTIONS = 30
"""Options that one message lists."""

_UNKNOWN = frozenset(get_args(Unknown))
_MOST_CONVERTED = 16
"""Classes with configs in them that one converter serves."""


@overload
def structure(
    source: Any,
    *,
    unknown: Unknown = "error",
    origin: str | None = None,
    registry: Registry | None = None,
) -> AttentionConfig: ...
@overload
def structure(
    source: Any,
    cls: type[_S],
    *,
    unknown: Unknown = "error",
    origin: str | None = None,
    registry: Registry | None = None,
) -> _S: ...
def structure(
    source: Any,
    cls: type[Schema] = AttentionConfig,
    *,
    unknown: Unknown = "error",
    origin: str | None = None,
    registry: Registry | None = None,
) -> Schema:
    """Return the config that *source* describes.

    Nothing is coerced: text is no number, a boolean no integer, a fraction no integer, a string no
    list.

    Args:
        source: A mapping of options, OmegaConf's among them, or a config. A concrete config is
            given back.
        cls: What to make. For the default, the open attention config, ``type`` names the variant
            whose concrete config is made; for `TaskConfig`, the task.
        unknown: What becomes of options that the config does not know. ``"keep"`` moves them into
            ``extra``, ``"warn"`` does so with a warning.
        origin: The other implementation that *source* was written for, and whose options it names:
            ``"reference"`` or one that the variant knows. None for options as they are here.
        registry: Where types are looked up; the process-wide one where it is None.

    Raises:
        ConfigError: If anything is wrong with it; `ConfigError.problems` holds everything that is,
            types of configs within it included.
        UnknownTypeError: If no installed package provides its own type.
        AmbiguousTypeError: If several do.
        PluginError: If the package that does cannot be used.
        ValueError: If the variant knows no such *origin*, or *cls* is no config of attention.
    """
    known = default_registry() if registry is None else registry
    if origin is not None:
        config, notices = _of_origin(source, cls, unknown, known, origin)
        warn_of(notices)
        return config
    try:  # as `structured` does, without its record, which most calls do not need
        return _made(source, cls, _structurer(known, _strict(unknown)))
    except ConfigError as error:
        config, notices = _second_reading(error, source, cls, unknown, known)
    warn_of(notices)
    return config


def structure_document(
    document: AnyDocument,
    cls: type[_S],
    *,
    unknown: Unknown = "error",
    origin: str | None = None,
    registry: Registry | None = None,
) -> _S:
    """Return the config that a document describes; its problems carry file, line and column.

    Raises:
        ConfigError: If anything is wrong with it.
        PluginError: If the package that provides a type cannot be used.
    """
    try:
        config, notices = structured(
            document.data, cls, unknown=unknown, origin=origin, registry=registry
        )
    except ConfigError as error:
        from noether_core.structuring.paths import DocumentPart, pointed_at_configs

        known = default_registry() if registry is None else registry
        above = document.keys if isinstance(document, DocumentPart) else ()
        problems = pointed_at_configs(
            error.problems, document.data, cls, known, how="at={!r}", above=above
        )
        raise error.with_problems(document.locate(problem) for problem in problems) from None
    if notices:
        warn_of(document.locate(problem) for problem in notices)
    return config


class Structured(NamedTuple, Generic[_S]):
    """A config, and what its reader should know of the source that it was made of."""

    config: _S

    notices: tuple[Problem, ...]
    """Options of other versions that were read as those of today, or left out; and with
    ``unknown="warn"`` those that the config does not know.
    """


def structured(
    source: Any,
    cls: type[_S],
    *,
    unknown: Unknown = "error",
    origin: str | None = None,
    registry: Registry | None = None,
) -> Structured[_S]:
    """Return what `structure` does, and what it warns of, for callers that know a better place."""
    known = default_registry() if registry is None else registry
    if origin is not None:
        return _of_origin(source, cls, unknown, known, origin)
    try:
        return Structured(_made(source, cls, _structurer(known, _strict(unknown))), ())
    except ConfigError as error:
        return _second_reading(error, source, cls, unknown, known)


def _of_origin(
    source: Any, cls: type[_S], unknown: Unknown, known: Registry, origin: str
) -> Structured[_S]:
    """Return the config that *source* describes in the words of another implementation.

    Problems and notices are under the names that *source* has.
    """
    from noether_core.structuring.omegaconf import resolved
    from noether_core.structuring.origins import translate

    if isinstance(source, Schema) and _is_one(source, cls):
        return Structured(source, ())  # type: ignore[arg-type]  # it is one, in our words already
    options = resolved(source)
    if not isinstance(options, Mapping):
        options = _options_of(options)
    translated = translate(options, cls, known, origin)
    names = translated.names
    try:
        config, notices = structured(translated.options, cls, unknown=unknown, registry=known)
    except ConfigError as error:
        problems = [_renamed(problem, names) for problem in error.problems]
        raise error.with_problems([*translated.problems, *problems]) from None
    if translated.problems:
        raise ConfigError(translated.problems)

    own = plan_of(type(config)).options
    way_out = f"with origin=None, and not {origin!r}, it means what it does here"
    left_out = [
        _Outdated(
            keys=(name,),
            message=f"was left out: {reason}",
            value=value,
            suggestion=way_out if name in own else None,
            at_key=True,
        )
        for name, value, reason in translated.left_out
    ]
    return Structured(config, (*left_out, *[_renamed(notice, names) for notice in notices]))


def _strict(unknown: Unknown) -> Unknown:
    return "error" if unknown == "warn" else unknown


def _second_reading(
    error: ConfigError, source: Any, cls: type[_S], unknown: Unknown, known: Registry
) -> Structured[_S]:
    """Return the config, if what the first reading found is only to be warned of.

    The first one found everything, each with its path. This one takes what is to be warned of, and
    raises whatever else is wrong.
    """
    notices = list(error.problems)
    if unknown != "warn":
        notices = [problem for problem in notices if isinstance(problem, _Outdated)]
    if not notices:
        raise error
    lenient: Unknown = "keep" if unknown == "warn" else unknown
    config = _made(source, cls, _structurer(known, lenient, takes_outdated=True))
    return Structured(config, tuple(notices))


def _made(source: Any, cls: type[_S], structurer: _Structurer) -> _S:
    config: Any
    if "omegaconf" not in sys.modules:  # then nothing in source can be of OmegaConf
        config = structurer.make(source, cls)
    else:
        from noether_core.structuring.omegaconf import from_resolved

        config = from_resolved(source, lambda data: structurer.make(data, cls))
    return config  # type: ignore[no-any-return]  # it is of cls, or of a subclass


class _Outdated(Problem):
    """An option that was renamed or dropped; it is read, and warned of."""

    __slots__ = ()


def warn_of(notices: Iterable[Problem]) -> None:
    """Warn whoever called from outside of *notices*, as `structured` returned them."""
    problems = tuple(notices)
    outdated = [problem for problem in problems if isinstance(problem, _Outdated)]
    unknown = [problem for problem in problems if not isinstance(problem, _Outdated)]
    level = _level_of_caller()
    if outdated:
        warnings.warn(OutdatedOptionWarning(outdated), stacklevel=level)
    if unknown:
        warnings.warn(str(ConfigError(unknown)), UserWarning, stacklevel=level)


def _level_of_caller() -> int:
    """Return how far up the stack the call from outside stands, however deep configs are nested."""
    frame, level = inspect.currentframe(), 0
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in {"noether_core", "cattrs"}:
            break
        frame, level = frame.f_back, level + 1
    return level


@functools.lru_cache(maxsize=64)
def _structurer(
    registry: Registry, unknown: Unknown, *, takes_outdated: bool = False
) -> _Structurer:
    if unknown not in _UNKNOWN:
        raise ValueError(f"unknown: expected one of {sorted(_UNKNOWN)}, got {unknown!r}")
    return _Structurer(registry, unknown, takes_outdated=takes_outdated)


class _Structurer:
    """Makes configs of any class.

    The class of what ``type`` names is looked up in the registry at each call, since types come
    and go.
    """

    def __init__(self, registry: Registry, unknown: Unknown, *, takes_outdated: bool) -> None:
        self.unknown = unknown
        self.takes_outdated = takes_outdated
        self.registry = registry
        self._converter: cattrs.Converter | None = None
        self._converted: set[type[Schema]] = set()

    def make(self, source: Any, cls: type[Schema]) -> Schema:
        """Return the *cls* that *source* describes."""
        if (
            type(source) is not dict
        ):  # by far the most common, and the first question is the dearest
            if isinstance(source, Schema) and _is_one(source, cls):
                return source
            source = _options_of(source)
        if cls.is_open_config:
            cls = self._concrete_class(source, cls)  # type: ignore[arg-type]  # no other is open
        if plan_of(cls).can_be_called and cls.extra_field not in source:
            try:
                return cls(**source)  # which looks at every option, and for most is all
            except TypeError:
                pass  # an option is missing or unknown: all that is wrong is found below
        return _Maker(cls, self).make(source)

    def converter_for(self, cls: type[Schema]) -> cattrs.Converter:
        """Return what walks lists and mappings of configs in a *cls*; most hold none.

        It keeps whatever annotation it has seen, with the classes in it, so that another takes its
        place after some classes.
        """
        from noether_core.structuring.nested import new_converter

        converter = self._converter
        is_full = cls not in self._converted and len(self._converted) >= _MOST_CONVERTED
        if converter is None or is_full:
            converter = self._converter = new_converter(self.make)
            self._converted = set()
        self._converted.add(cls)
        return converter

    def _concrete_class(
        self, options: Mapping[str, Any], family: type[OpenConfig]
    ) -> type[OpenConfig]:
        """Return the config class of what ``type`` names: a variant, or a task."""
        known = self.registry.of(family)
        try:
            found: type[OpenConfig] = known.get(_type_of(options, known)).config
        except ConfigError as error:
            others = problems_of(family, options, frozenset({"type"}))
            raise error.with_problems([*error.problems, *others]) from None
        return found


def _is_one(source: Schema, cls: type[Schema]) -> bool:
    """Return whether *source* is a config of *cls*.

    The open config is not, nor is one of a variant that inherits *cls*.
    """
    if not isinstance(source, cls) or is_open(type(source)):
        return False
    if type(source) is cls or is_open(cls) or not isinstance(source, OpenConfig):
        return True
    try:
        plan_of(cls).check("type", source.type)
    except ConfigError:
        return False
    return True


def _options_of(source: Any) -> Mapping[Any, Any]:
    if isinstance(source, Schema):
        return unstructure(source)
    if isinstance(source, Mapping):
        return source
    way_out = None
    if isinstance(source, os.PathLike) or (isinstance(source, str) and _looks_like_a_file(source)):
        way_out = f"load({shown(os.fspath(source))}) reads a file"
    raise refuse("a mapping of options", source, way_out)


def _looks_like_a_file(text: str) -> bool:
    return os.path.splitext(text)[1] != "" and len(text.splitlines()) == 1


def _type_of(options: Mapping[str, Any], registry: RecordRegistry[Any]) -> str:
    name = options.get("type")
    if type(name) is str:
        return name
    wanted = f"the name of {registry.kind.one}"
    message = f"missing: {wanted} is required"
    if "type" in options:
        message = f"expected {wanted}, got {shown(name)}"
    near = [other for other in options if type(other) is str and other.casefold() == "type"]
    from noether_core.plugins.resolution import installed_types

    suggestion = installed_types(registry)
    if "type" not in options and near:
        suggestion = f"write 'type' for {near[0]!r}"
    raise ConfigError([Problem(keys=("type",), message=message, value=name, suggestion=suggestion)])


def _renamed(problem: Problem, written: Mapping[str | int, str]) -> Problem:
    """Return a problem under the name that the document has for its option."""
    if not problem.keys or problem.keys[0] not in written:
        return problem
    return attrs.evolve(problem, keys=(written[problem.keys[0]], *problem.keys[1:]))


def _is_open_config(annotation: Any) -> TypeGuard[type[OpenConfig]]:
    return is_schema(annotation) and is_open(annotation)


class _Maker:
    """Makes a config of one class, step by step."""

    def __init__(self, cls: type[Schema], structurer: _Structurer) -> None:
        plan = plan_of(cls)
        if plan.nested:  # few configs hold configs, so that the others do without the import
            from noether_core.schemas.unions import ambiguities_in

            for fault in ambiguities_in(cls):
                raise TypeError(fault)
        self._cls = cls
        self._plan = plan
        self._structurer = structurer
        self._options = plan.options
        self._required = plan.required
        # attrs.asdict names what a config holds by its attributes
        self._attributes = {
            field.name: field.option for field in plan.fields if field.name != field.option
        }
        self._extra = cls.extra_field

    def make(self, source: Mapping[str, Any]) -> Schema:
        """Return the config, or raise everything that is wrong with *source*."""
        self._refuse_part_alone(source)
        options = dict(source)
        written: dict[str | int, str] = {}
        stray = self._set_aside_unknown(options, written)
        try:
            return self._made_of_known(options, stray)
        except ConfigError as error:
            if not written:
                raise
            # what is wrong with a value stands where the document has it, under the old name
            raise error.with_problems(
                _renamed(problem, written) for problem in error.problems
            ) from None

    def _refuse_part_alone(self, source: Mapping[str, Any]) -> None:
        """Raise if *source* is a config of a family, and this class holds such a one as an option.

        Whatever else is wrong with it follows from that.
        """
        if "type" in self._options or "type" not in source:
            return
        for option in self._required - source.keys():
            annotation = self._plan.nested.get(option)
            if _is_open_config(annotation) and self._looks_like(source, annotation):
                message = f"missing: this looks like a config of {option} itself"
                way_out = f"write it under {option}"
                raise ConfigError([Problem(keys=(option,), message=message, suggestion=way_out)])

    def _looks_like(self, source: Mapping[str, Any], family: type[OpenConfig]) -> bool:
        """Return whether options are a config of a family: by their type, or what others lack."""
        name = source["type"]
        if isinstance(name, str) and self._structurer.registry.of(family).providers(name):
            return True
        return family is AttentionConfig and "hidden_dim" in source

    def _made_of_known(self, options: dict[str, Any], stray: list[Problem]) -> Schema:
        nested = self._structure_nested(options)
        if stray or nested or not self._required <= options.keys():
            reported = frozenset(str(problem.keys[0]) for problem in nested)
            raise ConfigError([*nested, *problems_of(self._cls, options, reported), *stray])
        return self._cls(**options)

    def _set_aside_unknown(
        self, options: dict[str, Any], written: dict[str | int, str]
    ) -> list[Problem]:
        """Take what is no option out of *options*, and keep it in ``extra`` or return problems.

        What stands under the old name of an option becomes that option, and *written* gets the old
        name by the new one.
        """
        if options.keys() <= self._options:
            return []
        problems: list[Problem] = []
        unknown: dict[Any, Any] = {}
        for name in [name for name in options if name not in self._options]:
            value = options.pop(name)
            if self._is_of_config(name, value):
                options[self._attributes.get(name, name)] = value
            elif name in self._plan.renamed:
                problems += self._rename(name, value, options, written)
            elif name in self._plan.dropped:
                if not self._structurer.takes_outdated:
                    problems.append(self._dropped_notice(name, value))
            elif name not in self._cls.ignored_options:
                unknown[name] = value
        if not unknown:
            return problems
        if self._structurer.unknown == "keep" and self._extra is not None:
            options[self._extra] = {**options.get(self._extra, {}), **unknown}
            return problems
        reported = itertools.islice(unknown.items(), MOST_PROBLEMS + 1)
        return problems + [self._unknown_problem(name, value) for name, value in reported]

    def _is_of_config(self, name: Any, value: Any) -> bool:
        """Return whether a config has *value* under *name*, as attrs.asdict writes it out."""
        if name == self._extra:  # an entry of a document that happens to be called so is unknown
            return isinstance(value, FrozenMapping) or value == {}
        return name in self._attributes

    def _rename(
        self, old: str, value: Any, options: dict[str, Any], written: dict[str | int, str]
    ) -> list[Problem]:
        """Put the value of an old name under the new one; return what there is to say of it."""
        new = self._plan.renamed[old]
        if new in options:
            message = f"is an old name of {new}, which is given as {written.get(new, new)} too"
            way_out = f"keep one of them, as {new}"
            return [
                Problem(keys=(old,), message=message, value=value, suggestion=way_out, at_key=True)
            ]
        options[new] = value
        written[new] = old
        if self._structurer.takes_outdated:
            return []
        message = f"is an old name of {new}"
        way_out = f"write {new}"
        return [
            _Outdated(keys=(old,), message=message, value=value, suggestion=way_out, at_key=True)
        ]

    def _dropped_notice(self, name: str, value: Any) -> Problem:
        return _Outdated(
            keys=(name,),
            message=f"is no option of {self._owner} any more and was left out",
            value=value,
            suggestion=self._plan.dropped[name] or None,
            at_key=True,
        )

    @property
    def _owner(self) -> str:
        """What messages call the class."""
        if issubclass(self._cls, OpenConfig):
            return repr(self._plan.default_of("type"))
        return self._cls.__name__

    def _unknown_problem(self, name: Any, value: Any) -> Problem:
        from noether_core.plugins.resolution import owners
        from noether_core.spelling import did_you_mean

        suggestion = None
        if issubclass(self._cls, OpenConfig) and type(name) is str:
            # it may be an option of another type
            suggestion = owners(name, self._structurer.registry.of(self._cls).types_with(name))
        return Problem(
            keys=(name if isinstance(name, (str, int)) else shown(name),),
            message=f"unknown option of {self._owner}",
            value=value,
            suggestion=suggestion or did_you_mean(name, self._options) or self._way_out(name),
            at_key=True,
        )

    def _way_out(self, name: Any) -> str | None:
        """Return which options there are, for a name that none of them is near to."""
        if type(name) is not str:
            return None
        options = [field.option for field in self._plan.fields if field.option in self._options]
        listed = ", ".join(options[:_MOST_OPTIONS])
        more = len(options) - _MOST_OPTIONS
        return f"the options are {listed}{f' and {more} more' if more > 0 else ''}"

    def _structure_nested(self, options: dict[str, Any]) -> list[Problem]:
        """Make the configs that *options* hold, in place; return their problems."""
        problems: list[Problem] = []
        for name, annotation in self._plan.nested.items():
            if name not in options:
                continue
            converter = self._structurer.converter_for(self._cls)
            try:
                options[name] = converter.structure(options[name], annotation)
            except ConfigError as error:
                problems.extend(problem.within(name) for problem in error.problems)
        return problems
