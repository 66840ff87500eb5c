"""The options of another type: from the file, from the task, from the example of its record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from noether_core import AttentionConfig, AttentionVariant, ConfigError, registry, unstructure
from noether_core.schemas.schema import Plan, plan_of
from noether_core.tasks import Layout
from noether_plugins.comparison.record import Source
from noether_plugins.workbench.experiment import Experiment

if TYPE_CHECKING:
    from noether_core.plugins.metadata import EntryPoint

COUNTS = ("num_slices", "num_latents")
"""Options that say in how many things tokens are gathered: what one type has of them is what
another type gets, whatever either calls them."""

_OF_TASK: Mapping[str, Callable[[Layout], Any]] = {
    "input_dim": lambda layout: layout.coordinates,
    "branches": lambda layout: tuple(layout.groups),
}
"""Options that say what points are like, and what a task says there."""


@attrs.frozen
class Filled:
    """Options of a type, and where they come from; what is left out has its default."""

    options: Mapping[str, Any]
    sources: Mapping[str, Source]
    notes: tuple[str, ...] = ()


def fill(
    entry: EntryPoint, experiment: Experiment, layout: Layout, varied: Mapping[str, Any]
) -> Filled:
    """Return the options of a type for the task and the sizes of an experiment.

    Args:
        entry: What provides the type.
        experiment: The experiment of the file.
        layout: What its task says of points.
        varied: Options that ``--grid`` gives.

    Raises:
        PluginError: If the package that provides the type cannot be used.
    """
    filling = _Filling(entry, experiment.attention)
    if filling.is_own:
        filling.take(_given(experiment.attention), "file")
    else:
        filling.share()
    filling.take(_options_for(entry, experiment), "attention_options")
    filling.take(varied, "grid")
    filling.fill_from_task(layout)
    filling.fill_from_example()
    return Filled(filling.options, filling.sources, tuple(filling.notes))


def has_option(entry: EntryPoint, option: str) -> bool:
    """Return whether the config of a type has an option.

    Raises:
        PluginError: If the package that provides the type cannot be used.
    """
    return option in plan_of(registry().record(entry).config).options


class _Filling:
    """Options as they are gathered; what came first stays unless it is taken anew."""

    def __init__(self, entry: EntryPoint, own: AttentionConfig) -> None:
        self._entry = entry
        self._own = own
        self._record: AttentionVariant = registry().record(entry)
        self._plan: Plan = plan_of(self._record.config)
        self.is_own = registry().provider_of(own) == entry
        self.options: dict[str, Any] = {}
        self.sources: dict[str, Source] = {}
        self.notes: list[str] = []

    def take(self, options: Mapping[str, Any], source: Source) -> None:
        """Take options, in place of those that are there."""
        self.options |= options
        self.sources |= dict.fromkeys(options, source)

    def share(self) -> None:
        """Take what the file's own attention says and the type has too."""
        for option, value in _shared(self._own).items():
            if option not in self._plan.options:
                continue
            if self._is_taken(option, value):
                self.take({option: value}, "file")
            else:
                left = self._plan.default_of(option)
                self.notes.append(f"{option}: {value} of the file is refused, {left} in its place")

        count = _count_of(self._own)
        for option in COUNTS:
            is_wanted = option in self._plan.options and option not in self.options
            if is_wanted and count is not None and self._is_taken(option, count):
                self.take({option: count}, "file")

    def _is_taken(self, option: str, value: Any) -> bool:
        """Return whether the type takes a value of an option, whatever the others are."""
        if option == "use_rope" and value and "rope" not in self._record.capabilities:
            return False
        if option in self._plan.nested:
            return True
        try:
            self._plan.check(option, value)
        except ConfigError:
            return False
        return True

    def fill_from_task(self, layout: Layout) -> None:
        """Take from the task what is required and missing."""
        for option in self._missing() & _OF_TASK.keys():
            self.take({option: _OF_TASK[option](layout)}, "task")

    def fill_from_example(self) -> None:
        """Take from the record's example what is still required, and counts, scaled.

        Whole numbers are multiplied by the width over that of the example, as far as the option
        takes the product.
        """
        example = self._record.example
        scale = self.options.get("hidden_dim", 0) / example.get("hidden_dim", 1) or 1.0
        wanted = self._missing() | (self._plan.options.intersection(COUNTS) - self.options.keys())
        for option in wanted & example.keys():
            value = example[option]
            if type(value) is int:
                scaled = max(1, round(value * scale))
                value = scaled if self._is_taken(option, scaled) else value
            self.take({option: value}, "example")

    def _missing(self) -> frozenset[str]:
        return self._plan.required - self.options.keys() - {"type"}


def _given(attention: AttentionConfig) -> dict[str, Any]:
    """Return the options that a config has beyond its defaults."""
    options = unstructure(attention, defaults=False)
    del options["type"]
    return options


def _shared(own: AttentionConfig) -> dict[str, Any]:
    """Return the options of a config that another type gets: those given, and its counts.

    A head width that follows from the others is none of them.
    """
    options = _given(own)
    for option in plan_of(type(own)).options.intersection(COUNTS):
        options[option] = getattr(own, option)
    if options.get("head_dim") == own.hidden_dim // own.num_heads:
        del options["head_dim"]
    return options


def _count_of(own: AttentionConfig) -> int | None:
    """Return in how many things a config gathers tokens; None where it gathers them in none."""
    for option in COUNTS:
        count = getattr(own, option, None)
        if count is not None:
            return int(count)
    return None


def _options_for(entry: EntryPoint, experiment: Experiment) -> dict[str, Any]:
    """Return what the file's ``attention_options`` say of a type, bare or qualified."""
    options: dict[str, Any] = {}
    for name, own in experiment.attention_options.items():
        if registry().provider(name) == entry:
            options |= unstructure(own)
    return options
