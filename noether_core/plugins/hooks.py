"""Plugins as pluggy knows them: their hooks, and the extensions that take part in building."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

from noether_core.errors import ConfigError, PluginError, Problem, shown
from noether_core.hookspecs import AttentionHooks, CommandHooks, ExtensionHooks
from noether_core.plugins.imports import label, plugin_error, told
from noether_core.plugins.metadata import ATTENTION, COMMAND, EXTENSION, EntryPoint

if TYPE_CHECKING:
    from noether_core.schemas.modules.attention import AttentionConfig


class Hooks:
    """Registers plugins and hands out their hook implementations; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._managers = {group: _new_manager() for group in (ATTENTION, COMMAND, EXTENSION)}

    def implementation(self, entry: EntryPoint, plugin: Any, hook: str) -> Callable[..., Any]:
        """Return the plugin's own implementation of *hook*, after pluggy has validated all that it
        implements.

        Raises:
            PluginError: If the plugin implements another hook, or one with other parameters, or not
                this one.
        """
        with self._lock:
            self._register(entry, plugin)
            implementations = getattr(self._managers[entry.group].hook, hook).get_hookimpls()
        for implementation in implementations:
            if implementation.plugin is plugin:
                return implementation.function  # type: ignore[no-any-return]
        raise plugin_error(entry, f"implements no hook '{hook}'; mark one with @hookimpl")

    def implementations(self, entry: EntryPoint, plugin: Any) -> dict[str, pluggy.HookImpl]:
        """Return all that a plugin implements, by the names of the hooks.

        Raises:
            PluginError: If it implements another hook, or one with other parameters, or none.
        """
        with self._lock:
            self._register(entry, plugin)
            callers = self._managers[entry.group].get_hookcallers(plugin) or []
            found = {
                caller.name: one
                for caller in callers
                for one in caller.get_hookimpls()
                if one.plugin is plugin
            }
        if not found:
            raise plugin_error(entry, "implements no hook; mark one with @hookimpl")
        return found

    def replace(self, entry: EntryPoint, plugin: Any) -> None:
        """Register a plugin in the place of the one of its name, if there is one.

        Raises:
            PluginError: If pluggy refuses it.
        """
        with self._lock:
            manager = self._managers[entry.group]
            if manager.has_plugin(entry.qualified_name):
                manager.unregister(name=entry.qualified_name)
            self._register(entry, plugin)

    def _register(self, entry: EntryPoint, plugin: Any) -> None:
        name, manager = entry.qualified_name, self._managers[entry.group]
        if manager.get_plugin(name) is plugin:
            return
        try:
            manager.register(plugin, name)
            manager.check_pending()
        except (ValueError, pluggy.PluginValidationError) as error:
            if manager.get_plugin(name) is plugin:
                manager.unregister(name=name)
            raise plugin_error(entry, str(error)) from error


def _new_manager() -> pluggy.PluginManager:
    """Return the manager of one group: a plugin may serve several, and a type and a command may
    have one name.
    """
    manager = pluggy.PluginManager("noether")
    manager.add_hookspecs(AttentionHooks)
    manager.add_hookspecs(CommandHooks)
    manager.add_hookspecs(ExtensionHooks)
    return manager


@attrs.frozen(eq=False)
class Extension:
    """One extension, and the hooks that it implements."""

    entry: EntryPoint
    hooks: dict[str, pluggy.HookImpl]

    def rank(self, hook: str) -> tuple[int, str]:
        """Return what puts this extension in order among those that implement a hook."""
        implementation = self.hooks[hook]
        return int(implementation.trylast) - int(implementation.tryfirst), self.entry.qualified_name

    def call(
        self, hook: str, read: Callable[[Any], Any] = lambda answer: answer, **arguments: Any
    ) -> Any:
        """Return what *read* makes of its hook's answer.

        Raises:
            ConfigError: If the hook does.
            PluginError: If it raises anything else.
        """
        implementation = self.hooks[hook]
        try:
            return read(
                implementation.function(*[arguments[name] for name in implementation.argnames])
            )
        except (KeyboardInterrupt, ConfigError):
            raise
        except BaseException as error:  # like its import, an extension's hook must not end its host
            raise plugin_error(self.entry, f"fails in {hook}: {told(error)}") from error


class Extensions:
    """The extensions of a registry."""

    def __init__(self, extensions: Iterable[Extension]) -> None:
        self._extensions = tuple(extensions)

    def of(self, hook: str) -> list[Extension]:
        """Return those that implement a hook, in the order in which they are called."""
        implementing = [extension for extension in self._extensions if hook in extension.hooks]
        return sorted(implementing, key=lambda extension: extension.rank(hook))

    def validate(self, config: AttentionConfig) -> None:
        """Let every extension look at a config.

        Raises:
            ConfigError: If any finds something wrong with it; what each finds is told, with its
                distribution.
            PluginError: If an extension fails.
        """
        problems = [
            attrs.evolve(problem, message=f"{problem.message}, says {extension.entry.provider}")
            for extension in self.of("noether_validate_config")
            for problem in _problems_that(extension, config)
        ]
        if problems:
            raise ConfigError(problems)


def sound_extension(entry: EntryPoint, load: Callable[[EntryPoint], Extension]) -> Extension:
    """Return what *load* makes of an extension.

    Raises:
        PluginError: If it cannot be used, with how to do without it; that is never done unasked,
            since an extension may be there to forbid something.
    """
    try:
        return load(entry)
    except PluginError as error:
        way_out = f"to build without it, set NOETHER_BLOCK={entry.qualified_name}"
        raise PluginError(label(entry), f"{error.reason}; {way_out}") from error


def _problems_that(extension: Extension, config: AttentionConfig) -> list[Problem]:
    """Return what an extension finds wrong with a config."""
    try:
        problems: list[Problem] = extension.call("noether_validate_config", _listed, config=config)
    except ConfigError as error:
        return list(error.problems)
    return problems


def _listed(answer: Any) -> list[Problem]:
    problems = [] if answer is None else [answer] if isinstance(answer, Problem) else list(answer)
    for problem in problems:
        if not isinstance(problem, Problem):
            raise TypeError(f"expected Problems, got {shown(problem)}")
    return problems
