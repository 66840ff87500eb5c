"""Plugins as pluggy knows them, named ``distribution:type``; the only file that knows its plugin
manager.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pluggy

from noether_core.hookspecs import AttentionHooks, CommandHooks, ExtensionHooks
from noether_core.plugins.index import ATTENTION, COMMAND, EXTENSION, EntryPoint
from noether_core.plugins.loading import plugin_error


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
