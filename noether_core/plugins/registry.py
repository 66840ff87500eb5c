"""From a type to its variant; the only file that knows pluggy's plugin manager."""

from __future__ import annotations

import argparse
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pluggy

from noether_core.errors import AmbiguousTypeError, PluginError, Problem, UnknownTypeError, shown
from noether_core.hookspecs import AttentionHooks, AttentionVariant, CommandHooks, hookimpl, hookspec_version
from noether_core.plugins.index import ATTENTION, COMMAND, EntryPoint, Fault, Index, canonical, scan
from noether_core.plugins.loading import import_plugin, plugin_error
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.spelling import did_you_mean

IN_PROCESS = "in-process"
"""What stands for the distribution of variants that `Registry.register` was given."""

_MOST_NAMES = 20


class Registry:
    """Which installed package provides which attention variant.

    What is installed is read from metadata on first use; a plugin is imported when its type is asked for, and its
    outcome, good or bad, is remembered. Any method may be called from any thread; no lock is held while importing.

    Args:
        block: Plugins to leave out, each as ``distribution:type`` or ``distribution``. What the environment variable
            ``NOETHER_BLOCK`` names, separated by commas, is left out as well.
        index: What is installed; read from the metadata on ``sys.path`` where it is None.
    """

    def __init__(self, *, block: Iterable[str] = (), index: Index | None = None) -> None:
        environment = os.environ.get("NOETHER_BLOCK", "").split(",")
        self._blocked = frozenset(_canonical_name(name) for name in (*block, *environment) if name.strip())
        self._manager = pluggy.PluginManager("noether")
        self._manager.add_hookspecs(AttentionHooks)
        self._manager.add_hookspecs(CommandHooks)
        self._lock = threading.Lock()
        self._importing = threading.local()
        self._fixed = index
        self._scanned = index
        self._in_process: dict[str, EntryPoint] = {}
        self._variants: dict[EntryPoint, AttentionVariant] = {}
        self._failures: dict[EntryPoint, PluginError] = {}
        self._resolved: dict[str, AttentionVariant] = {}

    @property
    def index(self) -> Index:
        """What the installed distributions announce; scanned once."""
        if self._scanned is None:
            self._scanned = scan()
        return self._scanned

    def refresh(self) -> None:
        """Look again at what is installed, and give plugins that failed another try."""
        with self._lock:
            self._scanned = self._fixed
            self._failures.clear()
            self._resolved = {}

    def types(self) -> tuple[str, ...]:
        """Return the names of all types that some package provides, sorted; nothing is imported."""
        return tuple(sorted({entry.name for entry in self.providers()}))

    def providers(self, type: str | None = None) -> tuple[EntryPoint, ...]:
        """Return the plugins that provide *type*, bare or qualified, or those of all types; nothing is imported."""
        entries = [entry for entry in self._all_of(ATTENTION) if not self._is_blocked(entry)]
        if type is None:
            return tuple(entries)
        distribution, _, name = type.rpartition(":")
        wanted = canonical(distribution)
        return tuple(entry for entry in entries if entry.name == name and wanted in ("", entry.distribution))

    def blocked(self) -> tuple[EntryPoint, ...]:
        """Return the plugins that are installed and left out."""
        return tuple(entry for entry in self._all_of(ATTENTION) if self._is_blocked(entry))

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What in the metadata of installed distributions could not be read."""
        return self.index.faults

    def provider(self, type: str) -> EntryPoint:
        """Return the one plugin that provides *type*, bare or qualified; nothing is imported.

        Raises:
            UnknownTypeError: If no installed package does.
            AmbiguousTypeError: If several do.
        """
        providers = self.providers(type)
        if not providers:
            raise self._unknown(type)
        if len(providers) > 1:
            raise _ambiguous(type, providers)
        return providers[0]

    def get(self, type: str) -> AttentionVariant:
        """Return the variant of *type*, importing its plugin on first use.

        Raises:
            UnknownTypeError: If no installed package provides it.
            AmbiguousTypeError: If several do and *type* does not say which.
            PluginError: If the plugin that does cannot be used.
        """
        resolved = self._resolved  # a new one takes its place when something is registered meanwhile
        variant = resolved.get(type)
        if variant is None:
            variant = resolved[type] = self._load(self.provider(type))
        return variant

    def provider_of(self, config: AttentionConfig) -> EntryPoint:
        """Return the plugin whose concrete config *config* is; its class decides between providers of one type.

        Raises:
            UnknownTypeError: If no installed package provides the type.
            AmbiguousTypeError: If several do, and none by the class of *config*.
            PluginError: If a package that does cannot be used.
        """
        providers = self.providers(config.type)
        if len(providers) > 1:
            for entry in providers:
                if self._load(entry).config is type(config):
                    return entry
        return self.provider(config.type)

    def variant_of(self, config: AttentionConfig) -> AttentionVariant:
        """Return the variant whose concrete config *config* is.

        Raises:
            UnknownTypeError: If no installed package provides the type.
            AmbiguousTypeError: If several do, and none by the class of *config*.
            PluginError: If a package that does cannot be used.
        """
        return self._load(self.provider_of(config))

    def register(self, variant: AttentionVariant) -> None:
        """Add a variant in this process, under the distribution ``in-process``.

        A variant of the same type that was added before is replaced; one that a package provides is not: then the type
        must be qualified. Other processes, spawned workers among them, do not see it.

        Raises:
            TypeError: If *variant* is no AttentionVariant.
            PluginError: If it was written for a newer contract.
        """
        if not isinstance(variant, AttentionVariant):
            raise TypeError(f"expected an AttentionVariant, got {shown(variant)}")
        entry = EntryPoint(ATTENTION, variant.type, variant.module, IN_PROCESS, "", "")
        _check_version(entry, variant)
        with self._lock:
            if self._manager.has_plugin(entry.qualified_name):
                self._manager.unregister(name=entry.qualified_name)
            self._manager.register(_InProcessPlugin(variant), entry.qualified_name)
            self._variants.pop(self._in_process.get(variant.type, entry), None)
            self._in_process[variant.type] = entry
            self._variants[entry] = variant
            self._resolved = {}

    def commands(self) -> tuple[EntryPoint, ...]:
        """Return the commands that installed packages add; nothing is imported."""
        return tuple(entry for entry in self._all_of(COMMAND) if not self._is_blocked(entry))

    def add_command(self, entry: EntryPoint, parser: argparse.ArgumentParser) -> None:
        """Let the plugin of a command describe it to *parser*.

        Raises:
            PluginError: If it cannot be used.
        """
        self._hook(entry, import_plugin(entry), "noether_command")(parser)

    def _all_of(self, group: str) -> Iterator[EntryPoint]:
        yield from self.index.of(group)
        if group == ATTENTION:
            yield from tuple(self._in_process.values())

    def _is_blocked(self, entry: EntryPoint) -> bool:
        return bool(self._blocked) and not self._blocked.isdisjoint((entry.distribution, entry.qualified_name))

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
        """Refuse a plugin that asks for its own type while this thread imports it: its module is half made."""
        importing = self._importing.__dict__.setdefault("entries", set())
        if entry in importing:
            raise plugin_error(entry, "asks for its own type while it is being imported")
        importing.add(entry)
        try:
            yield
        finally:
            importing.discard(entry)

    def _ask(self, entry: EntryPoint, plugin: Any) -> AttentionVariant:
        hook = self._hook(entry, plugin, "noether_attention_variant")
        try:
            variant = hook()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # like its import, a plugin's hook must not end its host
            raise plugin_error(entry, f"fails in its hook: {type(error).__name__}: {error}") from error
        if not isinstance(variant, AttentionVariant):
            raise plugin_error(entry, f"returns {shown(variant)} from its hook, which is no AttentionVariant")
        _check_version(entry, variant)
        if variant.type != entry.name:
            raise plugin_error(
                entry,
                f"has a config of the type {variant.type!r}; give the entry point that name, or the config this one",
            )
        return variant

    def _hook(self, entry: EntryPoint, plugin: Any, name: str) -> Callable[..., Any]:
        """Return the plugin's own implementation of the hook *name*, after pluggy has validated all it implements."""
        with self._lock:
            self._register(entry, plugin)
            hooks = getattr(self._manager.hook, name).get_hookimpls()
        for hook in hooks:
            if hook.plugin is plugin:
                return hook.function  # type: ignore[no-any-return]
        raise plugin_error(entry, f"implements no hook '{name}'; mark one with @hookimpl")

    def _register(self, entry: EntryPoint, plugin: Any) -> None:
        name = entry.qualified_name
        if self._manager.get_plugin(name) is plugin:
            return
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
        except (ValueError, pluggy.PluginValidationError) as error:
            if self._manager.get_plugin(name) is plugin:
                self._manager.unregister(name=name)
            raise plugin_error(entry, str(error)) from error

    def _unknown(self, type: str) -> UnknownTypeError:
        installed = self.types()
        blocked = [entry for entry in self.blocked() if entry.name == type.rpartition(":")[2]]
        hint = did_you_mean(type, (*installed, *(entry.qualified_name for entry in self.providers())))
        if blocked:
            hint = f"{' and '.join(entry.qualified_name for entry in blocked)} is blocked."
        listed = ", ".join(installed[:_MOST_NAMES]) + ", ..." * (len(installed) > _MOST_NAMES)
        told = f"{hint} Installed: {listed}." if hint else f"Installed: {listed or 'none'}."
        problem = Problem(keys=("type",), message=f"{shown(type)} is not installed", value=type, suggestion=told)
        return UnknownTypeError(type, installed, [problem])


class _InProcessPlugin:
    """A plugin that was never installed."""

    def __init__(self, variant: AttentionVariant) -> None:
        self._variant = variant

    @hookimpl
    def noether_attention_variant(self) -> AttentionVariant:
        return self._variant


def _check_version(entry: EntryPoint, variant: AttentionVariant) -> None:
    if variant.api_version > hookspec_version:
        raise plugin_error(
            entry,
            f"was written for version {variant.api_version} of the plugin contract, and this is version "
            f"{hookspec_version}; install a newer noether-attention",
        )


def _ambiguous(type: str, providers: tuple[EntryPoint, ...]) -> AmbiguousTypeError:
    names = " and ".join(entry.provider for entry in providers)
    spellings = [entry.qualified_name for entry in providers]
    problem = Problem(
        keys=("type",),
        message=f"{shown(type)} is provided by {names}",
        value=type,
        suggestion=f"write {' or '.join(map(repr, spellings))}",
    )
    return AmbiguousTypeError(type, spellings, [problem])


def _canonical_name(name: str) -> str:
    distribution, colon, bare = name.strip().partition(":")
    return canonical(distribution) + colon + bare


_default: Registry | None = None
_default_lock = threading.Lock()


def registry() -> Registry:
    """Return the registry of this process, which everything uses that is not handed another."""
    global _default  # noqa: PLW0603  made on first use, so that importing costs nothing
    with _default_lock:
        if _default is None:
            _default = Registry()
        return _default
