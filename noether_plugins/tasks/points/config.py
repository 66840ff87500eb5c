"""Options of the task of the user's own files: where they are, and what in them is what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import attrs
from annotated_types import Ge, Interval, MaxLen, MinLen

from noether_core import ConfigError, Problem, structure
from noether_core.schemas import Schema, invariant
from noether_core.schemas.frozen_mapping import EMPTY
from noether_core.schemas.rules import Rule
from noether_core.schemas.task import TaskConfig
from noether_core.spelling import did_you_mean

STEM: Final = "{stem}"
"""What stands for the name of a case's file, less its extension."""

Name = Annotated[str, MinLen(1)]
Names = Name | Annotated[Sequence[Name], MinLen(1)]
Quantities = Sequence[Name] | Mapping[str, Names]


@attrs.frozen(kw_only=True)
class PointsGroup(Schema):
    """One group of points: the file that has them, and what in it is what."""

    file: Name | None = None
    """Its file, beside that of the case, such as ``{stem}_surface.vtp``; None for the case's own.
    """

    positions: Name | Annotated[Sequence[Name], MinLen(1), MaxLen(3)] = "points"
    """Of a mesh ``points``, or ``cells`` for its cells' centres; else an array, or the columns."""

    inputs: Quantities = ()
    """What is known at each point: arrays or columns, or a name for each or for several."""

    fields: Quantities = ()
    """What is to be predicted at each point, likewise: ``{velocity: [u, v, w]}``."""

    @invariant
    @staticmethod
    def only_the_stem_is_filled_in(file: str | None) -> Problem | None:
        """Return a problem if there is anything in braces but the stem."""
        return _brace_problem("file", file)

    @invariant
    @staticmethod
    def names_are_sound(inputs: Quantities, fields: Quantities) -> Problem | None:
        """Return a problem if a field is an input as well, or a name cannot stand in results."""
        both = set(sources_of(inputs)) & set(sources_of(fields))
        for name in sorted(both):
            message = f"{name!r} is an input as well: a model that is given it predicts nothing"
            return Problem(keys=("fields",), message=message, value=name)
        return _name_problem("inputs", inputs) or _name_problem("fields", fields)


@attrs.frozen(kw_only=True)
class PointsConfig(TaskConfig):
    """Cases in files of your own: meshes, tables and arrays."""

    type: Literal["points"] = "points"
    """Fields at points in your own files."""

    train: Names
    """Files to learn from: a pattern such as ``data/train/*.vtu``, or several of them."""

    test: Names | None = None
    """Held-out files, likewise."""

    hold_out: Annotated[float, Interval(gt=0, lt=1)] | None = None
    """Share of the files of ``train`` to hold out, in place of ``test``; the seed says which."""

    groups: Annotated[Mapping[str, PointsGroup], MinLen(1)]
    """The groups of points by name."""

    inputs: Quantities = ()
    """What is known of a case as a whole: columns of ``parameters``; without it, values in the
    file of the case: a single number or vector of ``.npz``, field data of VTK's files, or a column
    that is the same in all rows."""

    parameters: Name | None = None
    """A table of ``inputs``, ``.csv`` or ``.parquet``, with a row for each case; or with ``{stem}``
    in its name a file for each case, beside it, with one row."""

    parameters_key: Name | None = None
    """Column of ``parameters`` that has the stems of the cases; None for the first."""

    units: Mapping[str, str] = EMPTY
    """Units by name, of all groups or one: ``{pressure: Pa, surface.pressure: kPa}``. What is not
    named here has the unit that its files say."""

    points_per_sample: Annotated[int, Ge(1)] | Mapping[str, Annotated[int, Ge(1)]] | None = None
    """Points of each group, or by group, that a step sees of a case, drawn anew at random; None
    for all."""

    @classmethod
    def rule_of(cls, option: str, annotation: Any) -> Rule:
        """Return the rule of an option; plain mappings are groups as well, as records have them."""
        rule = super().rule_of(option, annotation)
        if option != "groups":
            return rule
        return Rule(rule.expected, lambda value: rule.check(_as_groups(value)))

    @invariant
    @staticmethod
    def some_files_are_held_out(test: Names | None, hold_out: float | None) -> Problem | None:
        """Return a problem unless there is exactly one way to held-out files."""
        if (test is None) != (hold_out is None):
            return None
        if test is None:
            message = "missing: held-out files, or hold_out, a share of those of train"
            return Problem(keys=("test",), message=message)
        message = "there are held-out files already, those of test"
        return Problem(
            keys=("hold_out",), message=message, value=hold_out, suggestion="leave one of them out"
        )

    @invariant
    @staticmethod
    def something_is_predicted(groups: Mapping[str, PointsGroup]) -> Problem | None:
        """Return a problem if no group has fields, or the name of one cannot stand in results."""
        for name in groups:
            if fault := _fault_of_name(name):
                return Problem(keys=("groups", name), message=fault, value=name, at_key=True)
        if any(group.fields for group in groups.values()):
            return None
        return Problem(keys=("groups",), message="no group has fields to predict")

    @invariant
    @staticmethod
    def inputs_are_sound(
        inputs: Quantities, parameters: str | None, parameters_key: str | None
    ) -> Problem | None:
        """Return a problem if inputs and the table that has them do not go together."""
        if parameters is not None and not inputs:
            message = "no inputs are taken from it; name some of its columns in inputs"
            return Problem(keys=("parameters",), message=message, value=parameters)
        if parameters_key is not None and (parameters is None or STEM in parameters):
            message = "there is no table of all cases whose column it could be"
            return Problem(keys=("parameters_key",), message=message, value=parameters_key)
        return _brace_problem("parameters", parameters) or _name_problem("inputs", inputs)

    @invariant
    @staticmethod
    def groups_are_known(
        groups: Mapping[str, PointsGroup],
        inputs: Quantities,
        units: Mapping[str, str],
        points_per_sample: int | Mapping[str, int] | None,
    ) -> Problem | None:
        """Return a problem if an option is about a group or a quantity that there is not."""
        known = _quantity_names(groups, inputs)
        for name in units:
            if name not in known:
                return _unknown(("units", name), "quantity", name, known)
        if isinstance(points_per_sample, Mapping):
            for name in points_per_sample:
                if name not in groups:
                    return _unknown(("points_per_sample", name), "group", name, groups)
        return None

    def points_of(self, group: str) -> int | None:
        """Return how many points of a group a step sees; None for all."""
        if isinstance(self.points_per_sample, Mapping):
            return self.points_per_sample.get(group)
        return self.points_per_sample


def _as_groups(value: Any) -> Any:
    """Return groups, of which some are mappings of options."""
    if not isinstance(value, Mapping):
        return value
    groups: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, group in value.items():
        try:
            is_plain = isinstance(group, Mapping)
            groups[name] = structure(group, PointsGroup) if is_plain else group
        except ConfigError as error:
            problems.extend(problem.within(name) for problem in error.problems)
    if problems:
        raise ConfigError(problems)
    return groups


def named(quantities: Quantities) -> dict[str, tuple[str, ...]]:
    """Return the names of arrays or columns that make up each quantity, by its name."""
    if not isinstance(quantities, Mapping):
        return {name: (name,) for name in quantities}
    return {name: listed(sources) for name, sources in quantities.items()}


def listed(names: Names | None) -> tuple[str, ...]:
    """Return one name, or several, or none, as a tuple."""
    if names is None:
        return ()
    return (names,) if isinstance(names, str) else tuple(names)


def sources_of(quantities: Quantities) -> tuple[str, ...]:
    """Return all names of arrays or columns that quantities are made of."""
    return tuple(source for sources in named(quantities).values() for source in sources)


def _quantity_names(groups: Mapping[str, PointsGroup], inputs: Quantities) -> list[str]:
    names = list(named(inputs))
    for group_name, group in groups.items():
        for name in (*named(group.inputs), *named(group.fields)):
            names += [name, f"{group_name}.{name}"]
    return names


def _name_problem(option: str, quantities: Quantities) -> Problem | None:
    names = named(quantities)
    for name in names:
        if fault := _fault_of_name(name):
            return Problem(keys=(option,), message=fault, value=name)
    if len(names) < len(quantities):
        return Problem(keys=(option,), message="a name stands there twice", value=quantities)
    return None


def _fault_of_name(name: str) -> str | None:
    if name and "." not in name:
        return None
    return f"the name {name!r} holds a dot, or nothing; map one without to it: {{p_mean: p.mean}}"


def _brace_problem(option: str, text: str | None) -> Problem | None:
    if text is None or not set("{}") & set(text.replace(STEM, "")):
        return None
    message = f"only {STEM} is filled in, got {text!r}"
    return Problem(keys=(option,), message=message, value=text)


def _unknown(keys: tuple[str, ...], what: str, name: str, names: Iterable[str]) -> Problem:
    return Problem(
        keys=keys,
        message=f"there is no {what} {name!r}",
        value=name,
        suggestion=did_you_mean(name, names),
        at_key=True,
    )
