"""From a type to its variant, importing its plugin on first use."""

from __future__ import annotations

import argparse
import copy
import functools
import importlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from noether_core import hookspecs
from noether_core.errors import PluginError, shown
from noether_core.hookspecs import AttentionVariant, hookimpl
from noether_core.plugins.hooks import Extension, Extensions, Hooks, sound_extension
from noether_core.plugins.imports import import_object, import_plugin, plugin_error, told
from noether_core.plugins.metadata import (
    ATTENTION,
    CORE,
    EntryPoint,
    Fault,
    Index,
    core_version,
    required_core,
)
from noether_core.plugins.resolution import Catalogue, ambiguous_type, unknown_type
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.schema import plan_of

IN_PROCESS = "in-process"
"""What stands for the distribution of variants that `Registry.register` was given."""


class Registry(Catalogue):
    """Which installed package provides which attention variant.

    What is installed is read from metadata on first use; a plugin is imported when its type is
    asked for, and its outcome, good or bad, is remembered. Any method may be called from any
    thread; no lock is held while importing.

    Args:
        block: Plugins to leave out, each as ``distribution:type`` or ``distribution``. What the
            environment variable ``NOETHER_BLOCK`` names, separated by commas, is left out as well.
        prefer: Plugins that a bare type means where several provide it, likewise, the first of them
            before all others. What ``NOETHER_PREFER`` names comes after them.
        index: What is installed; read from the metadata on ``sys.path`` where it is None.
    """

    def __init__(
        self, *, block: Iterable[str] = (), prefer: Iterable[str] = (), index: Index | None = None
    ) -> None:
        super().__init__(block=block, prefer=prefer, index=index)
        self._hooks = Hooks()
        self._importing = threading.local()
        self._variants: dict[EntryPoint, AttentionVariant] = {}
        self._failures: dict[EntryPoint, PluginError] = {}
        self._resolved: dict[str, AttentionVariant] = {}
        self._homes: dict[tuple[str, type[AttentionConfig]], EntryPoint] = {}
        self._extensions: Extensions | None = None

    def refresh(self) -> None:
        """Look again at what is installed, and give plugins that failed another try."""
        importlib.invalidate_caches()
        super().refresh()
        self._failures = {}
        self._resolved, self._homes = {}, {}
        self._extensions = None

    def with_preference(self, plugins: Iterable[str]) -> Registry:
        """Return this registry, seen such that bare types mean some plugins before what it prefers
        itself.

        What is installed, imported, added and blocked here is so in what is returned.

        Args:
            plugins: The plugins, each as ``distribution:type``.
        """
        self.providers()  # looks at what is installed, once for both
        seen = copy.copy(self)
        vars(seen).update(
            _prefer={**dict.fromkeys(plugins, "prefer"), **self._prefer}, _resolved={}, _homes={}
        )
        return seen

    def provider(self, type: str) -> EntryPoint:
        """Return the one plugin that provides *type*, bare or qualified; nothing is imported.

        Raises:
            UnknownTypeError: If no installed package does.
            AmbiguousTypeError: If several do.
        """
        if not isinstance(type, str):
            raise TypeError(f"expected the name of a type, got {shown(type)}")
        chosen = self.chosen(type)
        if not chosen:
            raise unknown_type(type, self)
        if len(chosen) > 1:
            raise ambiguous_type(type, chosen)
        return chosen[0]

    def get(self, type: str) -> AttentionVariant:
        """Return the variant of *type*, importing its plugin on first use.

        Raises:
            UnknownTypeError: If no installed package provides it.
            AmbiguousTypeError: If several do and *type* does not say which.
            PluginError: If the plugin that does cannot be used.
        """
        resolved = (
            self._resolved
        )  # a new one takes its place when something is registered meanwhile
        variant = resolved.get(type)
        if variant is None:
            variant = resolved[type] = self._load(self.provider(type))
        return variant

    def provider_of(self, config: AttentionConfig) -> EntryPoint:
        """Return the plugin whose concrete config *config* is; its class decides between providers
        of one type.

        Raises:
            UnknownTypeError: If no installed package provides the type.
            AmbiguousTypeError: If several do, and none by the class of *config*.
        """
        homes, key = (
            self._homes,
            (config.type, type(config)),
        )  # new ones take its place when something is registered
        entry = homes.get(key)
        if entry is None:
            entry = homes[key] = self._home_of(config)
        return entry

    def _home_of(self, config: AttentionConfig) -> EntryPoint:
        providers = self.providers(config.type)
        if len(providers) > 1 and type(config) is not AttentionConfig:
            for entry in providers:
                if self._is_home(entry, config):
                    return entry
        return self.provider(config.type)

    def _is_home(self, entry: EntryPoint, config: AttentionConfig) -> bool:
        """Return whether *config* is of the class of a plugin; one that cannot be used is home to
        none.
        """
        try:
            return self._load(entry).config is type(config)
        except PluginError:
            return False

    def variant_of(self, config: AttentionConfig) -> AttentionVariant:
        """Return the variant whose concrete config *config* is.

        Raises:
            UnknownTypeError: If no installed package provides the type.
            AmbiguousTypeError: If several do, and none by the class of *config*.
            PluginError: If a package that does cannot be used.
        """
        return self._load(self.provider_of(config))

    def types_with(self, option: str) -> tuple[str, ...]:
        """Return the types whose configs declare *option*, of Noether's own and of those that are
        imported already.

        No other plugin is imported: who asks has made a mistake in a config, and that must run
        nobody's code.
        """
        near = [
            entry
            for entry in self.providers()
            if entry.distribution == CORE or entry in self._variants
        ]
        return tuple(
            sorted(
                {entry.name for entry in near if option in self._options_of(entry.qualified_name)}
            )
        )

    def _options_of(self, type: str) -> frozenset[str]:
        try:
            return plan_of(self.get(type).config).options
        except PluginError:  # one that cannot be used
            return frozenset()

    def register(self, variant: AttentionVariant) -> None:
        """Add a variant in this process, under the distribution ``in-process``.

        A variant of the same type that was added before is replaced; one that a package provides is
        not: then the type must be qualified. Other processes, spawned workers among them, do not
        see it.

        Raises:
            TypeError: If *variant* is no AttentionVariant.
            PluginError: If it was written for a newer contract.
        """
        if not isinstance(variant, AttentionVariant):
            raise TypeError(f"expected an AttentionVariant, got {shown(variant)}")
        entry = EntryPoint(ATTENTION, variant.type, variant.module, IN_PROCESS, "", "")
        _check_version(entry, variant)
        self._hooks.replace(entry, _InProcessPlugin(variant))
        self._variants[entry] = variant
        self.add(entry)
        self._resolved, self._homes = {}, {}

    def loaded_extensions(self) -> Extensions:
        """Return the extensions, importing each on first use.

        Raises:
            PluginError: If one cannot be used.
        """
        found = self._extensions
        if found is None:
            found = self._extensions = Extensions(
                [sound_extension(entry, self._load_extension) for entry in self.extensions()]
            )
        return found

    def _load_extension(self, entry: EntryPoint) -> Extension:
        return Extension(entry, self._hooks.implementations(entry, import_plugin(entry)))

    def add_command(self, entry: EntryPoint, parser: argparse.ArgumentParser) -> None:
        """Let the plugin of a command describe it to *parser*.

        Raises:
            PluginError: If it cannot be used.
        """
        hook = self._hooks.implementation(entry, import_plugin(entry), "noether_command")
        _answer(entry, functools.partial(hook, parser))
        if not callable(parser.get_default("run")):
            raise plugin_error(
                entry, "says not what runs its command; call parser.set_defaults(run=...)"
            )

    def _load(self, entry: EntryPoint) -> AttentionVariant:
        """Return the variant of one plugin, or raise its failure, once and for all."""
        if entry in self._variants:
            return self._variants[entry]
        if failure := self._failures.get(entry):
            raise PluginError(failure.plugin, failure.reason) from failure.__cause__
        with self._importing_once(entry):
            try:
                variant = self._ask(entry, import_plugin(entry))
            except PluginError as error:
                self._failures[entry] = error
                raise
        return self._variants.setdefault(entry, variant)

    @contextmanager
    def _importing_once(self, entry: EntryPoint) -> Iterator[None]:
        """Refuse a plugin that asks for its own type while this thread imports it: its module is
        half made.
        """
        importing = self._importing.__dict__.setdefault("entries", set())
        if entry in importing:
            raise plugin_error(entry, "asks for its own type while it is being imported")
        importing.add(entry)
        try:
            yield
        finally:
            importing.discard(entry)

    def _ask(self, entry: EntryPoint, plugin: Any) -> AttentionVariant:
        hook = self._hooks.implementation(entry, plugin, "noether_attention_variant")
        variant = _answer(entry, hook)
        if not isinstance(variant, AttentionVariant):
            raise plugin_error(
                entry, f"returns {shown(variant)} from its hook, which is no AttentionVariant"
            )
        _check_version(entry, variant)
        if variant.type != entry.name:
            reason = (
                f"has a config of the type {variant.type!r}; name the entry point so, or the config"
            )
            raise plugin_error(entry, reason)
        return variant


class _InProcessPlugin:
    """A plugin that was never installed."""

    def __init__(self, variant: AttentionVariant) -> None:
        self._variant = variant

    @hookimpl
    def noether_attention_variant(self) -> AttentionVariant:
        return self._variant


def _answer(entry: EntryPoint, hook: Callable[[], Any]) -> Any:
    """Return what a plugin's hook returns."""
    try:
        return hook()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # like its import, a plugin's hook must not end its host
        raise plugin_error(entry, f"fails in its hook: {told(error)}") from error


def _check_version(entry: EntryPoint, variant: AttentionVariant) -> None:
    version = variant.api_version
    if hookspecs.oldest_version <= version <= hookspecs.hookspec_version:
        return
    written = f"was written for version {version} of the plugin contract"
    if version > hookspecs.hookspec_version:
        wanted = required_core(entry) or f"newer than {core_version()}"
        raise plugin_error(
            entry,
            f"{written}, and this is version {hookspecs.hookspec_version}; install noether-attention {wanted}",
        )
    changes = [
        f"for version {number}, {change}"
        for number, change in sorted(hookspecs.CHANGES.items())
        if number > version
    ]
    raise plugin_error(
        entry,
        f"{written}, which works no more; install a newer {entry.distribution}, or change it: {'; '.join(changes)}",
    )


class _ProcessRegistry(Registry):
    """The registry of this process, to which the modules that ``NOETHER_REGISTER`` names add theirs
    when imported.
    """

    def __init__(self) -> None:
        super().__init__()
        names = os.environ.get("NOETHER_REGISTER", "").split(",")
        self._to_import = [name.strip() for name in names if name.strip()]
        self._faults: dict[str, Fault] = {}

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What could not be read, and the modules that could not be imported."""
        return (*super().faults, *self._faults.values())

    def _all_of(self, group: str) -> tuple[EntryPoint, ...]:
        self._import_modules()
        return super()._all_of(group)

    def _import_modules(self) -> None:
        """Import what is to be imported; a thread that comes meanwhile waits for each module as any
        import does.
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
            self._faults[module] = Fault("NOETHER_REGISTER", error.reason)


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
