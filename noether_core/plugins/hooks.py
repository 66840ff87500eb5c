"""What plugins implement: hooks, validated and called by pluggy; and extensions, in their order."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

from noether_core.errors import ConfigError, Problem, shown
from noether_core.hookspecs import AttentionHooks, CommandHooks, ExtensionHooks, TaskHooks
from noether_core.plugins.imports import describe, plugin_error

if TYPE_CHECKING:
    from noether_core.plugins.metadata import EntryPoint
    from noether_core.schemas.modules.attention import AttentionConfig


def _specifications() -> types.ModuleType:
    """Return the hooks of all groups, since one module may be a plugin of several.

    pluggy looks at every attribute of a namespace; a class has many, a module these alone.
    """
    namespace = types.ModuleType("noether_hooks")
    for group in (AttentionHooks, TaskHooks, CommandHooks, ExtensionHooks):
        for name, hook in vars(group).items():
            if name.startswith("noether_"):
                setattr(namespace, name, hook)
    return namespace


_SPECIFICATIONS = _specifications()


class Hooks:
    """The hooks that one plugin implements.

    Each plugin has a manager of pluggy for itself. It validates what the plugin implements and
    calls it with the arguments that it declares; whatever fails is then known to be this plugin's.

    Args:
        entry: The plugin, as its distribution announces it.
        plugin: What was imported.
        own_errors: Errors that the hooks may raise on purpose.

    Raises:
        PluginError: If it implements a hook that does not exist, one with other parameters, or one
            as a wrapper.
    """

    def __init__(
        self, entry: EntryPoint, plugin: Any, *, own_errors: tuple[type[Exception], ...] = ()
    ) -> None:
        self.entry = entry
        self._let_through: tuple[type[BaseException], ...] = (KeyboardInterrupt, *own_errors)
        self._manager = pluggy.PluginManager("noether")
        self._manager.add_hookspecs(_SPECIFICATIONS)
        self._implementations = self._register(plugin)
        for hook, implementation in self._implementations.items():
            if implementation.wrapper or implementation.hookwrapper:
                raise plugin_error(
                    entry,
                    f"implements {hook} as a wrapper, and there is nothing to wrap: each plugin "
                    "is called by itself. Drop wrapper=True; tryfirst=True and trylast=True say "
                    "when an extension is called",
                )

    def _register(self, plugin: Any) -> dict[str, pluggy.HookImpl]:
        """Let pluggy validate a plugin; return what it implements, by the names of the hooks."""
        try:
            self._manager.register(plugin, self.entry.qualified_name)
            self._manager.check_pending()
        except KeyboardInterrupt:
            raise
        except (ValueError, pluggy.PluginValidationError) as error:
            raise plugin_error(self.entry, str(error)) from error
        except BaseException as error:  # pluggy looks at attributes, which may be anything
            raise plugin_error(self.entry, f"cannot be registered: {describe(error)}") from error

        callers = self._manager.get_hookcallers(plugin) or []
        return {caller.name: caller.get_hookimpls()[0] for caller in callers}

    def __contains__(self, hook: str) -> bool:
        return hook in self._implementations

    def __len__(self) -> int:
        return len(self._implementations)

    def rank(self, hook: str) -> tuple[int, str]:
        """Return what puts the plugin in order among those that implement *hook*."""
        implementation = self._implementations[hook]
        return int(implementation.trylast) - int(implementation.tryfirst), self.entry.qualified_name

    def call(self, hook: str, **arguments: Any) -> Any:
        """Return what the plugin returns from *hook*, which it implements.

        Raises:
            PluginError: If it raises anything but one of its own errors.
        """
        with self.failures_named(hook):
            return getattr(self._manager.hook, hook)(**arguments)

    @contextmanager
    def failures_named(self, hook: str) -> Iterator[None]:
        """Turn whatever the code within raises into an error that names the plugin and *hook*."""
        try:
            yield
        except self._let_through:
            raise
        except BaseException as error:  # a plugin that calls sys.exit() must not end its host
            raise plugin_error(self.entry, f"fails in {hook}: {describe(error)}") from error


class Extensions:
    """The extensions of a registry.

    Args:
        extensions: The hooks of each.
    """

    def __init__(self, extensions: Iterable[Hooks]) -> None:
        self._extensions = tuple(extensions)

    def implementing(self, hook: str) -> list[Hooks]:
        """Return those that implement a hook, in the order in which they are called."""
        found = [extension for extension in self._extensions if hook in extension]
        return sorted(found, key=lambda extension: extension.rank(hook))

    def validate(self, config: AttentionConfig) -> None:
        """Let every extension look at a config.

        Raises:
            ConfigError: If any finds something wrong with it; the problems name its distribution.
            PluginError: If an extension fails.
        """
        problems: list[Problem] = []
        for extension in self.implementing("noether_validate_config"):
            finder = extension.entry.provider
            for problem in _problems_found(extension, config):
                message = f"{problem.message}, says {finder}"
                problems.append(attrs.evolve(problem, message=message))
        if problems:
            raise ConfigError(problems)


def _problems_found(extension: Hooks, config: AttentionConfig) -> list[Problem]:
    """Return what an extension finds wrong with a config: returned, yielded or raised."""
    hook = "noether_validate_config"
    problems: list[Problem] = []
    try:
        returned = extension.call(hook, config=config)
        # a generator runs only now, so that its failures have to be named too
        with extension.failures_named(hook):
            for found in returned:
                problems += [found] if isinstance(found, Problem) else list(found)
            for problem in problems:
                if not isinstance(problem, Problem):
                    raise TypeError(f"expected Problems, got {shown(problem)}")
    except ConfigError as error:
        return list(error.problems)
    return problems
