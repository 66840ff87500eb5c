"""From a type to its record, importing its plugin on first use."""

from __future__ import annotations

import argparse
import copy
import importlib
import os
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from noether_core import hookspecs
from noether_core.errors import ConfigError, PluginError, shown
from noether_core.hookspecs import AttentionVariant, PluginRecord
from noether_core.plugins.catalogue import Catalogue, Installation
from noether_core.plugins.hooks import Extensions, Hooks
from noether_core.plugins.imports import import_object, label, plugin_error
from noether_core.plugins.metadata import (
    CORE,
    KINDS,
    TASKS,
    VARIANTS,
    EntryPoint,
    Fault,
    Index,
    Kind,
    core_version,
    required_core,
)
from noether_core.plugins.running import import_code
from noether_core.schemas.open_config import OpenConfig, is_open
from noether_core.schemas.schema import plan_of

if TYPE_CHECKING:
    from noether_core.task_record import TaskRecord

_R = TypeVar("_R", bound=PluginRecord)

IN_PROCESS = "in-process"
"""What stands for the distribution of records that `Registry.register` was given."""


class RecordRegistry(Catalogue, Generic[_R]):
    """Which installed package provides which type of one kind, and the records of those in use.

    Registries of several kinds are siblings: what is installed is read once for all, the same
    plugins are blocked and preferred, and to refresh one refreshes the others.

    Args:
        kind: What the types name.
        catalogue: What is installed, and the settings.
        siblings: The registries of other kinds by their groups, which this one joins.
    """

    def __init__(
        self, kind: Kind, catalogue: Catalogue, siblings: dict[str, RecordRegistry[Any]]
    ) -> None:
        self.kind = kind
        self._importing = threading.local()
        self._records: dict[EntryPoint, _R] = {}
        self._failures: dict[EntryPoint, PluginError] = {}
        self.join(catalogue, siblings)

    def join(self, catalogue: Catalogue, siblings: dict[str, RecordRegistry[Any]]) -> None:
        """Become one of *siblings*, which share what is installed and the settings."""
        self.share(catalogue)
        self._siblings = siblings
        siblings[self.kind.group] = self
        self._forget_names()

    def __repr__(self) -> str:
        packages = sorted({entry.distribution for entry in self.providers()})
        types = ", ".join(self.types()) or "no types"
        name = "Registry" if self.kind is VARIANTS else f"Registry of {self.kind.noun}s"
        return f"<{name}: {types}; of {', '.join(packages) or 'no package'}>"

    def _forget_names(self) -> None:
        """Resolve every type anew from now on.

        New tables take the place of the old ones, which a thread may still be filling with what was
        true before.
        """
        self._by_type: dict[str, _R] = {}
        self._by_config: weakref.WeakKeyDictionary[type[OpenConfig], dict[str, EntryPoint]] = (
            weakref.WeakKeyDictionary()
        )

    def refresh(self) -> None:
        """Look again at what is installed, and give plugins that failed another try."""
        importlib.invalidate_caches()
        super().refresh()
        for sibling in self._siblings.values():
            sibling.look_again()

    def look_again(self) -> None:
        """Resolve every type anew, and give plugins that failed another try."""
        self._failures = {}
        self._forget_names()

    def of_kind(self, kind: Kind) -> RecordRegistry[Any]:
        """Return the registry of another kind."""
        return self._siblings[kind.group]

    def of(self, config: type[OpenConfig]) -> RecordRegistry[Any]:
        """Return the registry of the types that configs of *config* name."""
        return self._siblings[config.plugin_group]

    def provider(self, type: str) -> EntryPoint:
        """Return the one plugin that provides *type*, bare or qualified; nothing is imported.

        Raises:
            UnknownTypeError: If no installed package does.
            AmbiguousTypeError: If several do.
        """
        if not isinstance(type, str):
            raise TypeError(f"expected the name of a type, got {shown(type)}")
        chosen = self.chosen(type)
        if len(chosen) == 1:
            return chosen[0]
        from noether_core.plugins.resolution import ambiguous_type, unknown_type

        raise ambiguous_type(type, chosen) if chosen else unknown_type(type, self)

    def get(self, type: str) -> _R:
        """Return the record of *type*, importing its plugin on first use.

        Raises:
            UnknownTypeError: If no installed package provides it.
            AmbiguousTypeError: If several do and *type* does not say which.
            PluginError: If the plugin that does cannot be used.
        """
        table = self._by_type
        record = table.get(type)
        if record is None:
            record = table[type] = self.record(self.provider(type))
        return record

    def provider_of(self, config: OpenConfig) -> EntryPoint:
        """Return the plugin whose concrete config *config* is.

        The class of the config decides between providers of one type.

        Raises:
            UnknownTypeError: If no installed package provides the type.
            AmbiguousTypeError: If several do, and none by the class of *config*.
        """
        table = self._by_config.setdefault(type(config), {})
        entry = table.get(config.type)
        if entry is None:
            entry = table[config.type] = self._find_provider(config)
        return entry

    def _find_provider(self, config: OpenConfig) -> EntryPoint:
        providers = self.providers(config.type)
        if len(providers) > 1 and not is_open(type(config)):
            for entry in providers:
                if self._has_class_of(entry, config):
                    return entry
        return self.provider(config.type)

    def _has_class_of(self, entry: EntryPoint, config: OpenConfig) -> bool:
        """Return whether *config* is of the class of a plugin; one that is broken has no class."""
        try:
            return self.record(entry).config is type(config)
        except PluginError:
            return False

    def record_of(self, config: OpenConfig) -> _R:
        """Return the record whose concrete config *config* is.

        Raises:
            UnknownTypeError: If no installed package provides the type.
            AmbiguousTypeError: If several do, and none by the class of *config*.
            PluginError: If a package that does cannot be used.
        """
        return self.record(self.provider_of(config))

    def types_with(self, option: str) -> tuple[str, ...]:
        """Return the types whose configs declare *option*, among those at hand.

        At hand are Noether's own and those that are imported already. No other plugin is imported:
        the option is a mistake in a config, and that must run nobody's code.
        """
        types = set()
        for entry in self.providers():
            is_at_hand = entry.distribution == CORE or entry in self._records
            if is_at_hand and option in self._options_of(entry.qualified_name):
                types.add(entry.name)
        return tuple(sorted(types))

    def _options_of(self, type: str) -> frozenset[str]:
        try:
            return plan_of(self.get(type).config).options
        except PluginError:  # one that cannot be used
            return frozenset()

    def register(self, record: PluginRecord) -> None:
        """Add a variant or a task in this process, under the distribution ``in-process``.

        One of the same type that was added before is replaced; one that a package provides is not:
        then the type must be qualified. Other processes, spawned workers among them, do not see it.

        Raises:
            TypeError: If *record* is none of any kind.
            PluginError: If it was written for a newer contract.
        """
        for sibling in self._siblings.values():
            if isinstance(record, sibling.kind.record_class):
                sibling.take(record)
                return
        wanted = " or ".join(kind.record_name for kind in KINDS.values())
        raise TypeError(f"expected an {wanted}, got {shown(record)}")

    def take(self, record: _R) -> None:
        """Add a record of this kind, as `register` does."""
        entry = EntryPoint(self.kind.group, record.type, record.module, IN_PROCESS, "", "")
        _check_version(entry, record)
        replaced = self.add(entry)
        self._records[entry] = record
        if replaced is not None and replaced != entry:
            self._records.pop(replaced, None)
        self._forget_names()

    def record(self, entry: EntryPoint) -> _R:
        """Return the record of one plugin, which is imported on first use.

        Raises:
            PluginError: If it cannot be used; it is not tried a second time.
        """
        if entry in self._records:
            return self._records[entry]
        if failure := self._failures.get(entry):
            raise PluginError(failure.plugin, failure.reason) from failure.__cause__
        with self._importing_once(entry):
            try:
                record: _R = _load_record(entry, self.kind)
            except PluginError as error:
                self._failures[entry] = error
                raise
        return self._records.setdefault(entry, record)

    @contextmanager
    def _importing_once(self, entry: EntryPoint) -> Iterator[None]:
        """Refuse a plugin that looks its own type up while this thread imports it.

        Its module is half made then.
        """
        importing = self._importing.__dict__.setdefault("entries", set())
        if entry in importing:
            raise plugin_error(entry, "looks its own type up while it is being imported")
        importing.add(entry)
        try:
            yield
        finally:
            importing.discard(entry)


class Registry(RecordRegistry[AttentionVariant]):
    """Which installed package provides which attention variant; and beside it, which task.

    What is installed is read from metadata on first use; a plugin is imported when its type is
    wanted, and its outcome, good or bad, is remembered. Any method may be called from any thread;
    no lock is held while importing.

    Args:
        block: Plugins to leave out, each as ``distribution:type`` or ``distribution``. What the
            environment variable ``NOETHER_BLOCK`` names, separated by commas, is left out as well.
        prefer: Plugins that a bare type means where several provide it, likewise, the first of them
            before all others. What ``NOETHER_PREFER`` names comes after them.
        index: What is installed; read from the metadata on ``sys.path`` where it is None.
    """

    tasks: RecordRegistry[TaskRecord]
    """Which installed package provides which task."""

    def __init__(
        self, *, block: Iterable[str] = (), prefer: Iterable[str] = (), index: Index | None = None
    ) -> None:
        siblings: dict[str, RecordRegistry[Any]] = {}
        super().__init__(VARIANTS, Catalogue(block=block, prefer=prefer, index=index), siblings)
        self.tasks = RecordRegistry(TASKS, self, siblings)
        self._extensions: Extensions | None = None

    def look_again(self) -> None:
        """Resolve every type anew, and give plugins that failed another try, extensions too."""
        super().look_again()
        self._extensions = None

    def with_preference(self, plugins: Iterable[str]) -> Registry:
        """Return this registry with other preferences: bare types mean *plugins* before others.

        What is installed, imported, added and blocked here is so in what is returned.

        Args:
            plugins: The plugins, each as ``distribution:type``.
        """
        self.providers()  # looks at what is installed, once for both
        other = copy.copy(self)
        other._prefer_before_others(plugins)  # noqa: SLF001  a copy of this one
        return other

    def _prefer_before_others(self, plugins: Iterable[str]) -> None:
        self._prefer = {**dict.fromkeys(plugins, "prefer"), **self._prefer}
        self._installation = copy.copy(self._installation)
        siblings: dict[str, RecordRegistry[Any]] = {}
        self.join(self, siblings)
        self.tasks = copy.copy(self.tasks)
        self.tasks.join(self, siblings)

    def loaded_extensions(self) -> Extensions:
        """Return the extensions, importing each on first use.

        Raises:
            PluginError: If one cannot be used.
        """
        found = self._extensions
        if found is None:
            found = Extensions([_load_extension(entry) for entry in self.extensions()])
            self._extensions = found
        return found

    def add_command(self, entry: EntryPoint, parser: argparse.ArgumentParser) -> None:
        """Let the plugin of a command describe it to *parser*.

        Raises:
            PluginError: If it cannot be used.
        """
        _call_only_hook(entry, "noether_command", parser=parser)
        if not callable(parser.get_default("run")):
            raise plugin_error(
                entry, "says not what runs its command; call parser.set_defaults(run=...)"
            )


def _load_record(entry: EntryPoint, kind: Kind) -> Any:
    record = _call_only_hook(entry, kind.hook)
    if not isinstance(record, kind.record_class):
        raise plugin_error(
            entry, f"returns {shown(record)} from its hook, which is no {kind.record_name}"
        )
    _check_version(entry, record)
    if record.type != entry.name:
        reason = f"has a config of the type {record.type!r}; name the entry point so, or the config"
        raise plugin_error(entry, reason)
    return record


def _call_only_hook(entry: EntryPoint, hook: str, **arguments: Any) -> Any:
    """Import a plugin and return what it returns from the one hook of its group."""
    hooks = Hooks(entry, import_code(entry.value, entry))
    if hook not in hooks:
        raise plugin_error(entry, f"implements no hook '{hook}'; mark one with @hookimpl")
    return hooks.call(hook, **arguments)


def _load_extension(entry: EntryPoint) -> Hooks:
    """Import an extension.

    Raises:
        PluginError: If it cannot be used, with how to do without it. That is never done unasked,
            since an extension may be there to forbid something.
    """
    try:
        hooks = Hooks(entry, import_code(entry.value, entry), own_errors=(ConfigError,))
        if not hooks:
            raise plugin_error(entry, "implements no hook; mark one with @hookimpl")
    except PluginError as error:
        way_out = f"to build without it, set NOETHER_BLOCK={entry.qualified_name}"
        raise PluginError(label(entry), f"{error.reason}; {way_out}") from error
    return hooks


def _check_version(entry: EntryPoint, record: PluginRecord) -> None:
    version = record.api_version
    current = hookspecs.hookspec_version
    if hookspecs.oldest_version <= version <= current:
        return

    written = f"was written for version {version} of the plugin contract"
    if version > current:
        wanted = required_core(entry) or f"newer than {core_version()}"
        raise plugin_error(
            entry, f"{written}, and this is version {current}; install noether-attention {wanted}"
        )

    changes = [
        f"for version {number}, {change}"
        for number, change in sorted(hookspecs.CHANGES.items())
        if number > version
    ]
    raise plugin_error(
        entry,
        f"{written}, which works no more; install a newer {entry.distribution}, "
        f"or change it: {'; '.join(changes)}",
    )


class _ProcessInstallation(Installation):
    """What is installed, and what the modules add that ``NOETHER_REGISTER`` names."""

    def __init__(self) -> None:
        super().__init__()
        names = os.environ.get("NOETHER_REGISTER", "").split(",")
        self._to_import = [name.strip() for name in names if name.strip()]
        self._importing = threading.local()
        self._import_faults: dict[str, Fault] = {}

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What could not be read, and the modules that could not be imported."""
        return (*super().faults, *self._import_faults.values())

    def of(self, group: str) -> tuple[EntryPoint, ...]:
        """Return the plugins of a group, once the modules are imported."""
        self._import_modules()
        return super().of(group)

    def _import_modules(self) -> None:
        """Import what is to be imported.

        A thread that comes meanwhile waits for each module, as any import does.
        """
        here = self._importing.__dict__
        if not self._to_import or here.get("modules"):
            return
        here["modules"] = True
        try:
            for module in self._to_import:
                self._import_module(module)
        finally:
            here["modules"] = False
        self._to_import = []

    def _import_module(self, module: str) -> None:
        try:
            import_object(module, "NOETHER_REGISTER")
        except PluginError as error:
            self._import_faults[module] = Fault("NOETHER_REGISTER", error.reason)


class _ProcessRegistry(Registry):
    """The registry of this process."""

    def __init__(self) -> None:
        super().__init__()
        self._installation = _ProcessInstallation()
        self.tasks.share(self)


_default: Registry | None = None
_default_lock = threading.Lock()


def registry() -> Registry:
    """Return the registry of this process, which everything uses that is not handed another.

    On first use it imports the modules that ``NOETHER_REGISTER`` names, separated by commas, for
    what they register.
    """
    global _default  # noqa: PLW0603  made on first use, so that importing costs nothing
    if _default is None:
        with _default_lock:
            if _default is None:
                _default = _ProcessRegistry()
    return _default
