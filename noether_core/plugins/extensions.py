"""Packages that take part in building: they check configs, and see or wrap what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import attrs

from noether_core.errors import ConfigError, PluginError, Problem, shown
from noether_core.plugins.index import EntryPoint
from noether_core.plugins.loading import label, plugin_error, told

if TYPE_CHECKING:
    import pluggy

    from noether_core.schemas.modules.attention import AttentionConfig


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
