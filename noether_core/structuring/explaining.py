"""Where the value of each option of a config comes from: a file, a command, a default, others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import attrs
from annotated_types import Ge

from noether_core.costs import Costs
from noether_core.errors import Problem, path_text
from noether_core.hookspecs import AttentionVariant
from noether_core.plugins.registry import Registry
from noether_core.schemas.help_text import help_of, plain_text
from noether_core.schemas.open_config import open_configs_in
from noether_core.schemas.rules import rule_for
from noether_core.schemas.schema import Field, Schema, plan_of
from noether_core.schemas.unstructure import unstructure
from noether_core.structuring.documents import Document
from noether_core.structuring.paths import COMMAND_LINE, OverriddenDocument

Source = Literal["file", "override", "default", "derived"]

_NONE_FOR = re.compile(r"\bNone for ([^.;]+)")

_Keys = tuple[str | int, ...]


@attrs.frozen(kw_only=True)
class Option(Schema):
    """One option of a config, and where its value comes from."""

    path: str
    """Where it stands, or would stand, from the top of the file."""

    value: Any
    """Its value, as plain data."""

    source: Source
    """``file``, ``override`` for the command line, ``default``, or ``derived`` from others."""

    file: str = ""
    """File in which the value is written; empty for other sources."""

    line: Annotated[int, Ge(1)] | None = None
    """Line of the value. What an anchor of YAML names, and an alias or a merge key repeats, stands
    where the anchor is; a value that is itself an alias stands where the alias is."""

    column: Annotated[int, Ge(1)] | None = None
    """Column of its first character, from 1."""

    written_as: str = ""
    """The name that the file has for it, where that is an old one."""

    derived_from: tuple[str, ...] = ()
    """Options that it follows from, of the same config."""

    help: str = ""
    """What it means."""

    @property
    def none_means(self) -> str:
        """What None stands for, where its help says so."""
        found = _NONE_FOR.search(self.help) if self.value is None else None
        return found.group(1) if found else ""


@attrs.frozen(kw_only=True)
class Part(Schema):
    """A config of a variant or a task: the one that is explained, or one within it."""

    path: str
    """Where it stands, from the top of the file; empty for the whole file."""

    kind: str
    """``variant`` or ``task``."""

    type: str
    provider: str
    """Distribution that provides the type."""

    version: str
    """Version of the distribution."""

    summary: str = ""
    interface: str = ""
    """How the variant is called; empty for a task."""

    capabilities: tuple[str, ...] = ()
    """What the variant honours beyond its interface."""

    time_exponent: float | None = None
    """Exponent of the tokens in time, as its record promises."""

    memory_exponent: float | None = None
    """Exponent of the tokens in memory, likewise."""


@attrs.frozen(kw_only=True)
class Explained(Schema):
    """One config of a file, explained."""

    path: str
    """Where it stands; empty for the whole file."""

    taken_as: Literal["variant", "task", "experiment"]
    """What it is: the config of a variant or a task, or a whole experiment."""

    parts: tuple[Part, ...]
    """The variant and the task that it names."""

    options: tuple[Option, ...]
    """All options, those of configs within it under their paths."""

    costs: Costs | None = None
    """What the module or model takes; None for a task."""


@attrs.frozen(kw_only=True)
class Explanation(Schema):
    """All that ``noether explain --json`` says."""

    format: Literal[1] = 1

    file: str

    valid: bool
    """Whether nothing is wrong with any config of the file."""

    configs: tuple[Explained, ...] = ()
    """The configs that are good."""

    problems: tuple[Mapping[str, Any], ...] = ()
    """What is wrong with the others, as ``noether validate --json`` says it."""

    warnings: tuple[Mapping[str, Any], ...] = ()
    """Options of older versions, likewise."""


def parts_of(config: Schema, keys: _Keys, registry: Registry) -> tuple[Part, ...]:
    """Return the variants and tasks that *config* is or holds.

    Args:
        config: The config, or the experiment.
        keys: What leads to it in its document.
        registry: Where types are looked up.
    """
    parts: list[Part] = []
    for within, part in open_configs_in(config):
        known = registry.of(type(part))
        entry, record = known.provider_of(part), known.record_of(part)
        facts: dict[str, Any] = {}
        if isinstance(record, AttentionVariant):
            names = ("interface", "capabilities", "time_exponent", "memory_exponent")
            facts = {name: getattr(record, name) for name in names}
        parts.append(
            Part(
                path=path_text((*keys, *within)),
                kind="variant" if isinstance(record, AttentionVariant) else "task",
                type=part.type,
                provider=entry.distribution,
                version=entry.version,
                summary=record.summary,
                **facts,
            )
        )
    return tuple(parts)


def options_of(
    config: Schema, document: Document | OverriddenDocument, keys: _Keys = ()
) -> tuple[Option, ...]:
    """Return the options of a config with where each value comes from.

    Args:
        config: What was made of the document.
        document: The document.
        keys: What leads to the config in it.
    """
    data = document.data
    for key in keys:
        data = data[key]
    return tuple(_Walk(document).config(config, data, keys, keys))


class _Given(NamedTuple):
    """What a document has for an option."""

    data: Any
    name: str
    """Under which name."""


class _Walk:
    """Goes through a config and through what it was made of, side by side."""

    def __init__(self, document: Document | OverriddenDocument) -> None:
        self._document = document

    def config(self, config: Schema, data: Any, path: _Keys, written: _Keys) -> Iterator[Option]:
        """Yield the options of a config.

        Args:
            config: The config.
            data: What the document has for it; no mapping where it says nothing.
            path: Where it stands by the names of today.
            written: Where the document has it.
        """
        cls = type(config)
        plan, texts = plan_of(cls), help_of(cls)
        properties = _properties_of(cls)
        # A stable sort: the others stay in the order of the class.
        for field in sorted(plan.fields, key=lambda field: field.option != "type"):
            name = field.option
            if name not in plan.options:
                continue
            facts: dict[str, Any] = {"help": plain_text(texts.get(name, ""))}
            given = _given(data, field, plan.old_names_of(name))
            if name not in properties:
                value = getattr(config, field.name)
                yield from self._field(value, given, (*path, name), written, facts)
                continue
            for option in _derived(config, name, (*path, name), facts):  # what follows from others
                facts |= {"derived_from": option.derived_from}  # may be given all the same
                found = self._field(option.value, given, (*path, name), written, facts)
                yield from found if given else (option,)

        for name, derived in properties.items():
            if name not in plan.options:
                facts = {"help": plain_text((derived.__doc__ or "").split("\n\n")[0])}
                yield from _derived(config, name, (*path, name), facts)

    def _field(
        self, value: Any, given: _Given | None, path: _Keys, written: _Keys, facts: dict[str, Any]
    ) -> Iterator[Option]:
        if given is None:
            yield from self._value(value, path, None, None, facts)
            return
        if given.name != path[-1]:
            facts |= {"written_as": given.name}
        yield from self._value(value, path, (*written, given.name), given.data, facts)

    def _value(
        self, value: Any, path: _Keys, written: _Keys | None, data: Any, facts: dict[str, Any]
    ) -> Iterator[Option]:
        """Yield the options within a value, or the one that it is.

        Args:
            value: The value.
            path: Where it stands by the names of today.
            written: Where the document has it; None where it has not.
            data: What the document has there.
            facts: Further fields of an option.
        """
        if isinstance(value, Schema):
            yield from self.config(value, data, path, path if written is None else written)
            return
        if self._is_cut_up(value, written):
            for key, item in _items_of(value):
                has_item = written is not None and _has(data, key)
                place = (*written, key) if written is not None and has_item else None
                yield from self._value(
                    item, (*path, key), place, data[key] if has_item else None, facts
                )
            return
        yield self._option(unstructure(value), path, written, facts)

    def _is_cut_up(self, value: Any, written: _Keys | None) -> bool:
        """Return whether items of a list or mapping are options of their own.

        They are where they hold configs, or come from other places than the whole.
        """
        items = _items_of(value)
        if any(_holds_config(item) for _, item in items):
            return True
        if written is None:
            return False
        whole = self._place(written).file
        return any(self._place((*written, key)).file != whole for key, _ in items)

    def _option(
        self, value: Any, path: _Keys, written: _Keys | None, facts: dict[str, Any]
    ) -> Option:
        source: dict[str, Any] = {"source": "default"}
        if written is not None:
            place = self._place(written)
            source = {"source": "override"}
            if place.file != COMMAND_LINE:
                where = {"file": place.file, "line": place.line, "column": place.column}
                source = {"source": "file", **where}
        return Option(path=path_text(path), value=value, **source, **facts)

    def _place(self, keys: _Keys) -> Problem:
        """Return where a value stands, as a problem of it would say."""
        return self._document.locate(Problem(message="", keys=keys))


def _given(data: Any, field: Field, old_names: list[str]) -> _Given | None:
    """Return what a mapping has for an option, under the name of today or an older one."""
    if isinstance(data, Mapping):
        for name in (field.option, *old_names):
            if name in data:
                return _Given(data[name], name)
    return None


def _has(data: Any, key: str | int) -> bool:
    """Return whether a document has an item of a value, and not something that became it."""
    if isinstance(data, Mapping):
        return key in data
    return isinstance(data, (list, tuple)) and isinstance(key, int) and key < len(data)


def _items_of(value: Any) -> list[tuple[str | int, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, (list, tuple)) else []


def _holds_config(value: Any) -> bool:
    return isinstance(value, Schema) or any(_holds_config(item) for _, item in _items_of(value))


def _properties_of(cls: type[Schema]) -> dict[str, property]:
    """Return the public properties of a config class and its bases by name."""
    found: dict[str, property] = {}
    for base in reversed(cls.__mro__):
        own = tuple(vars(base).items())  # a copy: another thread may set the plan of a base
        found |= {name: member for name, member in own if isinstance(member, property)}
    return {name: member for name, member in found.items() if not name.startswith("_")}


def _derived(config: Schema, name: str, path: _Keys, facts: dict[str, Any]) -> Iterator[Option]:
    """Yield what a property computes from options, if that is plain data."""
    looked_at = _LookedAt(config)
    try:
        value = looked_at.read(name)
        rule_for(Any).check(value)
        if isinstance(value, tuple) and type(value) is not tuple:
            return
    except Exception:  # noqa: BLE001  a property may raise anything, and return what is no plain data
        return
    if looked_at.options:
        yield Option(
            path=path_text(path),
            value=unstructure(value),
            source="derived",
            derived_from=tuple(looked_at.options),
            **facts,
        )


class _LookedAt:
    """Stands for a config while a property of it is computed, and notes which options it reads."""

    def __init__(self, config: Schema) -> None:
        self._config = config
        self._properties = _properties_of(type(config))
        self._names = {field.name: field.option for field in plan_of(type(config)).fields}
        self.options: dict[str, None] = {}
        """In the order in which they were read first."""

    def read(self, name: str) -> Any:
        """Return the value of a property."""
        getter: Any = self._properties[name].fget
        return getter(self)

    def __getattr__(self, name: str) -> Any:
        if name in self._properties:
            return self.read(name)
        if name in self._names:
            self.options[self._names[name]] = None
        return getattr(self._config, name)
