"""The base of every config: types and bounds of all fields, checked together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, NoReturn, TypeVar, get_type_hints

import attrs

from noether_core.errors import ConfigError, Problem, shown
from noether_core.schemas.annotations import chooses_config, holds_schema
from noether_core.schemas.rules import Check, Rule, rule_for

_PLAN = "_noether_plan"
"""Attribute of a class that has its plan: one kept elsewhere would keep the class for ever."""

_F = TypeVar("_F", bound=Callable[..., Problem | None])


def invariant(function: _F) -> _F:
    """Mark a static method of a schema as a rule across fields.

    Its parameters are named for the options that it reads. It is called once each of them is sound
    by itself, and returns a Problem or None::

        @invariant
        @staticmethod
        def window_fits(window: int, stride: int) -> Problem | None: ...
    """
    _function_of(function).is_invariant = True
    return function


def _function_of(member: Any) -> Any:
    """Return the function of a static method, which carries the mark; or one left plain."""
    return getattr(member, "__func__", member)


@attrs.frozen(kw_only=True)
class Schema:
    """A frozen, slotted, keyword-only attrs class whose fields are checked whenever one is made.

    Fields are annotated with their types and the bounds of ``annotated_types``; the string under a
    field is its help.

    Raises:
        ConfigError: If any value has another type than its field, is out of bounds or breaks an
            `invariant`; every problem is reported at once.
    """

    ignored_options: ClassVar[frozenset[str]] = frozenset()
    """Options that documents may carry and that mean nothing: accepted and dropped."""

    renamed_options: ClassVar[Mapping[str, str]] = {}
    """Old names of options, each with the name that the option has now.

    Documents and saved files that use them are read, with a warning.
    """

    dropped_options: ClassVar[Mapping[str, str]] = {}
    """Options that there were once, each with what to do without it; read over, with a warning."""

    extra_field: ClassVar[str | None] = None
    """Field that keeps options which the schema does not declare; None for a schema without one."""

    is_open_config: ClassVar[bool] = False
    """Whether the class stands for all of a family, and ``type`` says which one is meant."""

    def __init_subclass__(cls) -> None:
        """Let every class have the methods below for pickles; attrs would write its own."""
        super().__init_subclass__()
        for name in ("__getstate__", "__setstate__"):
            if name not in vars(cls):
                setattr(cls, name, getattr(cls, name))

    def __getstate__(self) -> dict[str, Any]:
        """Return the values of all fields by their names."""
        return {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Take the values of all fields, also those that an older version of the class had.

        Raises:
            ConfigError: If they make no config of this version.
        """
        values, problems = _values_of_state(type(self), state)
        if problems:
            raise ConfigError(problems)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self.__attrs_post_init__()

    def __attrs_post_init__(self) -> None:
        """Check every field, and keep the canonical form of its value."""
        cls = type(self)
        plan = cls.__dict__.get(_PLAN) or plan_of(cls)
        try:
            for name, check, default in plan.checks:
                value = getattr(self, name)
                if value is default:  # which was found sound when the plan was made
                    continue
                checked = check(value)
                if checked is not value:
                    object.__setattr__(self, name, checked)
        except ConfigError:
            self._raise_all_problems()
        for rule in plan.invariants:
            if rule.problem_of(self) is not None:
                self._raise_all_problems()

    @classmethod
    def rule_of(cls, option: str, annotation: Any) -> Rule:  # noqa: ARG003  subclasses look at the option
        """Return the rule that values of *option* must pass.

        Schemas with options of their own kind override it.
        """
        return rule_for(annotation)

    def _raise_all_problems(self) -> NoReturn:
        options = {field.option: getattr(self, field.name) for field in plan_of(type(self)).fields}
        raise ConfigError(problems_of(type(self), options)) from None


def _values_of_state(
    cls: type[Schema], state: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the values of all fields of *cls* in a pickle, and what is wrong with them."""
    plan = plan_of(cls)
    given = {plan.renamed.get(name, name): value for name, value in state.items()}
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for attribute in attrs.fields(cls):
        option = str(attribute.alias)
        default = attribute.default
        if attribute.name in given or option in given:
            values[attribute.name] = given.pop(attribute.name, given.get(option))
            given.pop(option, None)
        elif default is attrs.NOTHING:
            message = "missing: it was pickled by a version of its class that did not have it"
            problems.append(Problem(keys=(option,), message=message))
        else:
            values[attribute.name] = default.factory() if hasattr(default, "factory") else default
    for name in given.keys() - plan.dropped.keys() - cls.ignored_options:
        message = f"unknown option of {cls.__name__}, which pickled it in another version"
        problems.append(Problem(keys=(name,), message=message, value=given[name]))
    return values, problems


class Field(NamedTuple):
    """One option of a schema."""

    name: str
    """Attribute of the config."""

    option: str
    """Name in constructors and documents."""

    annotation: Any
    """Its resolved type with bounds."""

    expected: str
    """The values it accepts, in words."""

    check: Check
    """Returns the canonical value, or raises a ConfigError."""

    default: Any
    """Its default; `attrs.NOTHING` where it must be given."""

    chooses_config: bool
    """Whether its values are or hold one of several configs."""

    def default_value(self) -> Any:
        """Return the default, made anew where the field has a factory."""
        return self.default.factory() if hasattr(self.default, "factory") else self.default


class Invariant(NamedTuple):
    """A rule across fields, and the options that it reads."""

    function: Callable[..., Problem | None]
    options: tuple[str, ...]
    names: tuple[str, ...]
    """Attributes of the config that hold them."""

    def problem_of(self, config: Schema) -> Problem | None:
        """Return what is wrong with a config, all of whose fields are sound by themselves."""
        return self.of(*[getattr(config, name) for name in self.names])

    def of(self, *values: Any) -> Problem | None:
        """Return what is wrong with *values*, one for each option.

        A rule that fails itself is a problem too.
        """
        try:
            found: Any = self.function(*values)
        except Exception as error:  # noqa: BLE001  whatever the author's rule raises, the config's other problems count
            return self._faulty(f"raised {type(error).__name__}: {error}")
        if found is None or isinstance(found, Problem):
            return found
        return self._faulty(f"returned {shown(found)}")

    def _faulty(self, what: str) -> Problem:
        return Problem(
            message=f"the invariant {self.function.__qualname__} {what}",
            suggestion="it must return a Problem or None; tell its author",
        )


class Plan(NamedTuple):
    """How the configs of one class are checked."""

    fields: tuple[Field, ...]
    invariants: tuple[Invariant, ...]

    checks: tuple[tuple[str, Check, Any], ...]
    """Each field's name, its check, and its default where that needs none; `attrs.NOTHING` else.

    Tuples, since every config that is made goes through all of them.
    """

    options: frozenset[str]
    """Names that documents may use."""

    required: frozenset[str]
    """Those that have no default."""

    renamed: Mapping[str, str]
    """Old names of options, those of bases included, each with the name of today."""

    dropped: Mapping[str, str]
    """Options that there are no more, likewise, each with what to do without it."""

    nested: Mapping[str, Any]
    """Options that are or hold configs, each with its annotation."""

    can_be_called: bool
    """Whether options that are sound make a config as they are, by calling the class."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        """Be left out where a class is pickled by value, as cloudpickle does: it is made anew."""
        return type(None), ()

    def old_names_of(self, option: str) -> list[str]:
        """Return the names that *option* had."""
        return [old for old, new in self.renamed.items() if new == option]

    def default_of(self, option: str) -> Any:
        """Return the default of *option*; `attrs.NOTHING` where it must be given."""
        return self._field(option).default_value()

    def check(self, option: str, value: Any) -> Any:
        """Return *value* in its canonical form.

        Raises:
            ConfigError: If it is none of *option*.
        """
        return self._field(option).check(value)

    def _field(self, option: str) -> Field:
        return next(field for field in self.fields if field.option == option)


def plan_of(cls: type[Schema]) -> Plan:
    """Return how configs of *cls* are checked; computed once per class.

    Raises:
        TypeError: If an annotation cannot be resolved, or is one that configs do not know.
    """
    plan: Plan | None = cls.__dict__.get(_PLAN)  # its own, and none of a base
    if plan is None:
        plan = _new_plan(cls)
        setattr(cls, _PLAN, plan)
    return plan


def problems_of(
    cls: type[Schema], options: Mapping[str, Any], unsound: frozenset[str] = frozenset()
) -> list[Problem]:
    """Return everything that is wrong with *options* as those of a *cls*, missing ones included.

    Args:
        cls: The schema.
        options: Values by option. Names that are no options of *cls* are not looked at.
        unsound: Options already known to be wrong, whose problems others report.
    """
    plan = plan_of(cls)
    sound: dict[str, Any] = {}
    problems: list[Problem] = []
    for field in plan.fields:
        if field.option in unsound:
            continue
        value = options[field.option] if field.option in options else field.default_value()
        if value is attrs.NOTHING:
            message = f"missing: {field.expected} is required"
            problems.append(Problem(keys=(field.option,), message=message))
            continue
        try:
            sound[field.option] = field.check(value)
        except ConfigError as error:
            problems.extend(problem.within(field.option) for problem in error.problems)

    for rule in plan.invariants:
        if sound.keys() >= set(rule.options):
            problem = rule.of(*[sound[name] for name in rule.options])
            if problem is not None:
                problems.append(problem)
    return problems


def _new_plan(cls: type[Schema]) -> Plan:
    hints = _hints_of(cls)
    fields = [_field(cls, attribute, hints) for attribute in attrs.fields(cls) if attribute.init]
    names = {field.option: field.name for field in fields}
    nested = {field.option: field.annotation for field in fields if holds_schema(field.annotation)}
    options = frozenset(names.keys() - {cls.extra_field})
    renamed = _declared(cls, "renamed_options")
    dropped = _declared(cls, "dropped_options")
    if fault := _fault_of_old_names(cls, options, renamed, dropped):
        raise TypeError(f"{cls.__qualname__}: {fault}")
    return Plan(
        fields=tuple(fields),
        invariants=tuple(_invariants_of(cls, names)),
        checks=tuple((field.name, field.check, _sound_default(field)) for field in fields),
        options=options,
        required=frozenset(field.option for field in fields if field.default is attrs.NOTHING),
        renamed=renamed,
        dropped=dropped,
        nested=nested,
        # a class with a constructor of its own takes options that it does not declare
        can_be_called=not nested and "__attrs_init__" not in vars(cls),
    )


def _declared(cls: type[Schema], attribute: str) -> dict[str, str]:
    """Return what *cls* and its bases declare of options of other versions."""
    declared: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        found = vars(base).get(attribute, {})
        if not isinstance(found, Mapping) or not all(
            type(text) is str for text in itertools.chain(found, found.values())
        ):
            raise TypeError(
                f"{attribute} of {base.__qualname__} must map names to text, got {shown(found)}"
            )
        declared |= found
    return declared


def _fault_of_old_names(  # noqa: PLR0911  one return per fault
    cls: type[Schema],
    options: frozenset[str],
    renamed: Mapping[str, str],
    dropped: Mapping[str, str],
) -> str | None:
    """Return why the names of other versions cannot be read, if they cannot."""
    for old, new in renamed.items():
        if old in options or old == cls.extra_field:
            return f"'{old}' is an option and cannot be an old name of '{new}'"
        if new not in options:
            return f"'{old}' is an old name of '{new}', which is no option"
        if new == "type" and cls.extra_field is not None:  # a class that is found by its type
            return f"'{old}' cannot be an old name of 'type', by which the class is found"
        if old in dropped:
            return f"'{old}' is both renamed and dropped"
    for old in dropped:
        if old in options or old == cls.extra_field:
            return f"'{old}' is an option and cannot be a dropped one"
    for old in (*renamed, *dropped):
        if old in cls.ignored_options:
            return f"'{old}' is an ignored option and cannot be an old one as well"
    return None


def _hints_of(cls: type[Schema]) -> dict[str, Any]:
    try:
        return get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"an annotation of {cls.__qualname__} cannot be resolved at run time: {error}"
        ) from error


def _field(cls: type[Schema], attribute: attrs.Attribute[Any], hints: Mapping[str, Any]) -> Field:
    option = attribute.alias or attribute.name
    try:
        annotation = _annotation_of(attribute, hints)
        rule = cls.rule_of(option, annotation)
    except TypeError as error:
        raise TypeError(f"field '{option}' of {cls.__qualname__}: {error}") from error
    return Field(
        name=attribute.name,
        option=option,
        annotation=annotation,
        expected=rule.expected,
        check=rule.check,
        default=attribute.default,
        chooses_config=chooses_config(annotation),
    )


def _annotation_of(attribute: attrs.Attribute[Any], hints: Mapping[str, Any]) -> Any:
    if attribute.name not in hints:
        raise TypeError("it has no annotation")
    if getattr(attribute.default, "takes_self", False):
        raise TypeError(
            "its default is made from other fields; use None for one that follows from them"
        )
    if attribute.converter is not None:
        raise TypeError(
            "it has a converter of attrs, which changes values before they are checked; drop it"
        )
    if attribute.validator is not None:
        raise TypeError(
            "it has a validator of attrs, which knows no path; use bounds or an @invariant"
        )
    return hints[attribute.name]


def _sound_default(field: Field) -> Any:
    """Return the default of *field* if it passes as it is, else `attrs.NOTHING`."""
    if field.default is attrs.NOTHING:
        return attrs.NOTHING
    try:
        return field.default if field.check(field.default) is field.default else attrs.NOTHING
    except ConfigError:
        return attrs.NOTHING


def _invariants_of(cls: type[Schema], names: Mapping[str, str]) -> Iterator[Invariant]:
    """Yield the invariants of *cls* and its bases.

    One of a subclass replaces its base's of the same name.
    """
    found: dict[str, Callable[..., Problem | None]] = {}
    for base in reversed(cls.__mro__):
        # a copy: another thread may set the plan of a base meanwhile
        for name, member in tuple(vars(base).items()):
            function = _function_of(member)
            if getattr(function, "is_invariant", False):
                found[name] = function
    for function in found.values():
        yield _invariant(function, names)


def _invariant(function: Callable[..., Problem | None], names: Mapping[str, str]) -> Invariant:
    code = function.__code__
    options = code.co_varnames[: code.co_argcount]
    unknown = [option for option in options if option not in names]
    if unknown:
        raise TypeError(
            f"the invariant {function.__qualname__} reads {', '.join(unknown)}, which is no option"
        )
    return Invariant(function, options, tuple(names[option] for option in options))
