"""What is compared: a row for each variant and set of options, filled in for the task."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from noether_core import (
    AttentionConfig,
    ConfigError,
    NoetherError,
    PluginError,
    Problem,
    load,
    registry,
    structure,
    unstructure,
)
from noether_core.building import make_task
from noether_core.schemas.schema import plan_of
from noether_core.spelling import did_you_mean
from noether_core.tasks import Layout
from noether_plugins.comparison.budget import Budget, nearest_width
from noether_plugins.comparison.filling import Filled, fill, has_option
from noether_plugins.comparison.grid import (
    COMMAND_LINE,
    Axis,
    label_of,
    overrides_of,
    points,
    read_axes,
)
from noether_plugins.comparison.record import Row, Source
from noether_plugins.workbench.data import split
from noether_plugins.workbench.devices import device_named
from noether_plugins.workbench.experiment import Experiment, check_batch, check_fits
from noether_plugins.workbench.memory import check_weights, n_weights
from noether_plugins.workbench.trial import check_call

if TYPE_CHECKING:
    from noether_core.plugins.metadata import EntryPoint

RUNS: Final = "runs"
"""Folder of all runs, within that of the comparison."""

_LONGEST_NAME = 100
"""Characters of the name of a folder."""


@attrs.frozen(kw_only=True)
class Entry:
    """A row that is to be compared: an experiment that is known to be sound."""

    name: str
    """What tells it from the others: its type, with the options of ``--grid`` behind it."""

    experiment: Experiment
    """What is run, with the first of the seeds."""

    sources: Mapping[str, Source] = {}
    """By option of the attention, where its value comes from; those with defaults are left out."""


@attrs.frozen(kw_only=True)
class Request:
    """What the command line says of rows."""

    file: str
    overrides: tuple[str, ...] = ()

    types: tuple[str, ...] | None = None
    """Types to compare; None for the file's own and those of its ``attention_options``."""

    is_all: bool = False
    """Whether every type that is installed is compared."""

    seeds: int = 3
    budget: Budget | None = None

    grid: tuple[str, ...] = ()
    """Each as ``PATH=VALUE,VALUE``."""

    @property
    def command_line(self) -> str:
        """The line that asks for it."""
        words = ["noether", "compare", self.file]
        if self.is_all:
            words.append("--all")
        if self.types is not None:
            words += ["--types", ",".join(self.types)]
        words += ["--seeds", str(self.seeds)]
        if self.budget is not None:
            words += ["--budget", str(self.budget)]
        for text in self.grid:
            words += ["--grid", text]
        return shlex.join([*words, *self.overrides])


@attrs.frozen(kw_only=True)
class Plan:
    """All that is to be run, and the rows of what cannot be."""

    experiment: Experiment
    """That of the file."""

    seeds: tuple[int, ...]

    rows: tuple[Row, ...]
    """In their order; those that cannot be run have failed already."""

    entries: tuple[Entry, ...]
    """Those that can."""


def make_plan(request: Request) -> Plan:
    """Return what is compared, each row checked as ``noether run`` checks it.

    Raises:
        ConfigError: If the file, an override, a type or the grid is wrong.
        DeviceError: If the device that the experiment names is not there.
        PluginError: If the package that provides the task cannot be used.
    """
    axes = read_axes(request.grid)
    _check_budget(request.budget, axes)
    outer = [axis for axis in axes if not axis.is_of_attention]
    inner = [axis for axis in axes if axis.is_of_attention]
    settings = [_Setting.of(request, point, label_of(outer, point)) for point in points(outer)]
    experiment = settings[0].experiment if not outer else _experiment(request, {})

    types = _types(request, experiment)
    _check_options(inner, types)
    seeds = tuple(range(experiment.seed, experiment.seed + request.seeds))
    attrs.evolve(experiment, seed=seeds[-1])  # which checks it

    drafts: list[_Draft] = []
    for each in types:
        for setting in settings:
            drafts += _drafts(each, setting, inner, seeds)
    entries = tuple(draft.entry for draft in drafts if draft.entry is not None)
    rows = tuple(draft.row for draft in drafts)
    return Plan(experiment=experiment, seeds=seeds, rows=rows, entries=entries)


def _experiment(request: Request, point: Mapping[str, Any]) -> Experiment:
    overrides = [*request.overrides, *overrides_of(point)]
    experiment = load(request.file, Experiment, overrides=overrides)
    budget = request.budget
    if budget is not None and budget.kind == "steps":
        training = attrs.evolve(experiment.training, steps=int(budget.amount))
        experiment = attrs.evolve(experiment, training=training)
    return experiment


@attrs.frozen(kw_only=True)
class _Setting:
    """An experiment in which the attention is exchanged, and the points that its task has."""

    experiment: Experiment
    layout: Layout
    budget: Budget | None

    point: Mapping[str, Any]
    """What ``--grid`` gives around the attention, by path."""

    label: str

    @classmethod
    def of(cls, request: Request, point: Mapping[str, Any], label: str) -> _Setting:
        """Return the setting of a combination; what is wrong with it is wrong for all rows."""
        experiment = _experiment(request, point)
        device_named(experiment.training.device, "training.device")
        task = make_task(experiment.task, seed=experiment.seed)
        share = experiment.training.validation
        chosen, _ = split(len(task.train), share, experiment.seed)
        check_batch(experiment, len(chosen))
        return cls(
            experiment=experiment,
            layout=task.layout,
            budget=request.budget,
            point=point,
            label=label,
        )


@attrs.frozen
class _Type:
    """A type to be compared, as rows call it, and what provides it."""

    name: str
    provider: EntryPoint


def _types(request: Request, experiment: Experiment) -> tuple[_Type, ...]:
    """Return the types to compare, each once.

    Raises:
        ConfigError: If one that was named is not installed, or ambiguous.
    """
    known = registry()
    if request.is_all:
        return tuple(_Type(_spelling(entry), entry) for entry in known.providers())
    own = experiment.attention
    found = {known.provider_of(own): own.type}
    if request.types is not None:
        found = {}
    problems: list[Problem] = []
    for name in request.types or experiment.attention_options:
        try:
            found.setdefault(known.provider(name), name)
        except ConfigError as error:
            for problem in error.problems:
                message = f"--types: {problem.message}"
                problems.append(attrs.evolve(problem, keys=(), message=message, file=COMMAND_LINE))
    if problems:
        raise ConfigError(problems)
    return tuple(_Type(name, entry) for entry, name in found.items())


def _spelling(entry: EntryPoint) -> str:
    """Return the shortest name that means a plugin."""
    is_meant = registry().chosen(entry.name) == (entry,)
    return entry.name if is_meant else entry.qualified_name


def _check_budget(budget: Budget | None, axes: Sequence[Axis]) -> None:
    """Refuse a grid over what the budget says.

    Raises:
        ConfigError: If there is one.
    """
    if budget is None:
        return
    taken = ("attention", "hidden_dim") if budget.kind == "parameters" else ("training", "steps")
    if any(axis.keys == taken for axis in axes):
        message = f"--budget {budget} says it, and --grid varies it"
        raise ConfigError(
            [Problem(keys=taken, message=message, suggestion="keep one", file=COMMAND_LINE)]
        )


def _check_options(axes: Sequence[Axis], types: Sequence[_Type]) -> None:
    """Refuse an option that none of the types has; where some have it, the others go without.

    Raises:
        ConfigError: If there is one.
    """
    options: set[str] = set()
    for each in types:
        try:
            options |= plan_of(registry().record(each.provider).config).options
        except PluginError:
            continue
    problems: list[Problem] = []
    for axis in axes:
        if axis.option not in options:
            problem = Problem(
                keys=axis.keys,
                message="--grid: none of the types has this option",
                suggestion=did_you_mean(axis.option, sorted(options)),
                file=COMMAND_LINE,
            )
            problems.append(problem)
    if problems:
        raise ConfigError(problems)


@attrs.frozen
class _Draft:
    """A row, and what is run for it; None where it cannot be."""

    row: Row
    entry: Entry | None


def _drafts(
    type: _Type, setting: _Setting, axes: Sequence[Axis], seeds: Sequence[int]
) -> Iterator[_Draft]:
    """Yield the rows of a type in a setting, one for each combination of its own options."""
    provider = type.provider
    try:
        own = [axis for axis in axes if has_option(provider, axis.option)]
    except PluginError as error:
        yield _Drafting(type, setting, seeds, "", {}).failed(Filled({}, {}), str(error))
        return
    notes = tuple(
        f"{axis.option}: not varied, since the type has no such option"
        for axis in axes
        if axis not in own
    )
    for point in points(own):
        options = {axis.option: point[axis.path] for axis in own}
        filled = fill(provider, setting.experiment, setting.layout, options)
        filled = attrs.evolve(filled, notes=filled.notes + notes)
        yield _Drafting(type, setting, seeds, label_of(own, point), point).draft(filled)


@attrs.frozen
class _Drafting:
    """One row of a type in a setting, on its way."""

    type: _Type
    setting: _Setting
    seeds: Sequence[int]

    label: str
    """The options of the type that ``--grid`` varies."""

    point: Mapping[str, Any]
    """The same by path."""

    @property
    def name(self) -> str:
        """That of the row."""
        return " ".join(filter(None, (self.type.name, self.label, self.setting.label)))

    def draft(self, filled: Filled) -> _Draft:
        """Return the row, checked as ``noether run`` checks an experiment."""
        layout = self.setting.layout
        try:
            filled = self._within_budget(filled)
            experiment = self._experiment(filled.options)
            check_fits(experiment, layout)
            check_weights(experiment, layout)
            check_call(experiment.attention, experiment.model, layout)
        except (NoetherError, MemoryError, RuntimeError) as error:
            return self.failed(filled, self._reason(error))
        row = self._row(
            filled,
            status="unfinished",
            attention=unstructure(experiment.attention),
            parameters=n_weights(experiment, layout),
        )
        entry = Entry(name=self.name, experiment=experiment, sources=filled.sources)
        return _Draft(row, entry)

    def failed(self, filled: Filled, error: str) -> _Draft:
        """Return the row of what cannot be run."""
        attention = unstructure({"type": self.type.name, **filled.options})
        return _Draft(self._row(filled, status="failed", error=error, attention=attention), None)

    def _row(self, filled: Filled, **options: Any) -> Row:
        provider, training = self.type.provider, self.setting.experiment.training
        budget = self.setting.budget
        is_timed = budget is not None and budget.kind == "seconds"
        folder = folder_of(self.name)
        return Row(
            name=self.name,
            type=self.type.name,
            provider=provider.distribution,
            version=provider.version,
            sources=filled.sources,
            notes=filled.notes,
            varied={**self.point, **self.setting.point},
            runs=tuple(f"{RUNS}/{folder}/seed-{seed}" for seed in self.seeds),
            steps=None if is_timed else training.steps,
            **options,
        )

    def _experiment(self, options: Mapping[str, Any]) -> Experiment:
        attention = structure({**options, "type": self.type.name}, AttentionConfig)
        return attrs.evolve(self.setting.experiment, attention=attention, attention_options={})

    def _within_budget(self, filled: Filled) -> Filled:
        """Return options with the width that a budget of parameters gives; num_heads stays.

        Raises:
            ConfigError: If the options are wrong at every width.
        """
        budget, options = self.setting.budget, filled.options
        if budget is None or budget.kind != "parameters":
            return filled
        experiment = self._experiment(options)  # what is wrong at any width is said

        def count(width: int) -> int | None:
            try:
                wider = self._experiment({**options, "hidden_dim": width})
                check_fits(wider, self.setting.layout)
                return n_weights(wider, self.setting.layout)
            except (NoetherError, RuntimeError):
                return None

        found = nearest_width(budget.amount, experiment.attention.num_heads, count)
        if found is None:
            return filled  # whose own check says why
        width, parameters = found
        note = f"hidden_dim: {width} gives {parameters:,} parameters, the nearest to {budget}"
        return attrs.evolve(
            filled,
            options={**options, "hidden_dim": width},
            sources={**filled.sources, "hidden_dim": "budget"},
            notes=(*filled.notes, note),
        )

    def _reason(self, error: Exception) -> str:
        """Return why a row cannot be run, and where its options can be given."""
        if not isinstance(error, ConfigError):
            return str(error) or error.__class__.__name__
        reasons = "; ".join(problem.headline for problem in error.problems)
        if self.type.name == self.setting.experiment.attention.type:
            return reasons
        remedy = f"attention_options: {{{self.type.name}: ...}}"
        return f"{reasons}; give it other options under {remedy}"


def folder_of(name: str) -> str:
    """Return the name of the folder for the runs of a row: the same, as file systems like it."""
    plain = name.replace(" ", "-")
    if re.fullmatch(r"[\w.=+-]+", plain, re.ASCII) and len(plain) <= _LONGEST_NAME:
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^a-zA-Z0-9_.=+-]+', '-', plain)[:_LONGEST_NAME]}-{digest}"


Show = Callable[[str], None]


def show_plan(plan: Plan, show: Show) -> None:
    """Say which rows there are, with their options and where each comes from.

    Args:
        plan: The plan.
        show: Called with each line.
    """
    n_seeds = len(plan.seeds)
    show(f"{_counted(len(plan.rows), 'row')}, each from {_counted(n_seeds, 'seed')}:")
    for row in plan.rows:
        show(f"  {row.name} ({row.provided_by})")
        for line in _lines_of(row):
            show(f"    {line}")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _lines_of(row: Row) -> Iterator[str]:
    """Yield the options of a row by where they come from, and what else there is to say."""
    by_source: dict[str, list[str]] = {}
    for option, source in row.sources.items():
        by_source.setdefault(source, []).append(f"{option}={_shown(row.attention.get(option))}")
    for origin, options in by_source.items():
        yield f"{_SOURCES[origin]}: {', '.join(options)}"
    yield from row.notes
    if row.error:
        yield f"failed: {row.error}"


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value)


_SOURCES: Mapping[str, str] = {
    "file": "from the file",
    "attention_options": "from attention_options",
    "grid": "from --grid",
    "task": "from the task",
    "example": "from the example of its record, scaled",
    "budget": "from --budget",
}
