"""What is wrong, or will be, with the plugins that are installed: findings as data."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from noether_core.plugins.diagnosis import clashes, code, imports, metadata, settings
from noether_core.plugins.diagnosis.environment import Environment, environment_of
from noether_core.plugins.diagnosis.finding import Finding
from noether_core.plugins.diagnosis.processes import Outcome, outcomes
from noether_core.plugins.imports import describe
from noether_core.plugins.resolution import Catalogue

__all__ = ["Diagnosis", "Finding", "Outcome", "diagnose"]

TIMEOUT = 30.0
"""Seconds that the import of one plugin may take, unless told otherwise."""

SLOW = 200.0
"""Milliseconds above which an import is slow, unless told otherwise."""

_BY_METADATA = (
    metadata.unread_plugins,
    metadata.unsound_metadata,
    metadata.leftovers,
    metadata.duplicates,
    metadata.misspelt_groups,
    clashes.types,
    clashes.commands,
    clashes.look_alikes,
    code.code_of_others,
    code.shared_code,
    code.missing_torch,
    settings.unmatched_names,
    settings.blocked_preferences,
)

_BY_IMPORT = (
    imports.failures,
    imports.torch_with_configs,
    imports.old_contracts,
    imports.side_effects,
)


@attrs.frozen
class Diagnosis:
    """What was looked at, and what was found."""

    findings: tuple[Finding, ...]
    """What is wrong, errors first."""

    outcomes: tuple[Outcome, ...]
    """What became of each plugin that was imported, the slowest first."""

    environment: Environment | None
    """What was looked at; None where even that failed."""

    @property
    def has_errors(self) -> bool:
        """Whether a plugin cannot be used."""
        return any(finding.severity == "error" for finding in self.findings)


def diagnose(
    *,
    core_commands: Iterable[str] = (),
    with_imports: bool = True,
    is_deep: bool = False,
    timeout: float = TIMEOUT,
    slow: float = SLOW,
) -> Diagnosis:
    """Look at everything that is installed.

    No plugin is imported in this process, and no check that fails keeps another from being made.

    Args:
        core_commands: Names of Noether's own commands, which those of plugins may clash with.
        with_imports: Import each plugin, and each module that ``NOETHER_REGISTER`` names, in a
            process of its own.
        is_deep: Import the torch module of each variant there too, and make one by its example.
        timeout: Seconds that each of these processes may take.
        slow: Milliseconds above which an import is slow.
    """
    failed: list[Finding] = []
    known = Catalogue()
    looked = _guarded(
        lambda: [environment_of(known, frozenset(core_commands))], "environment", failed
    )
    if not looked:
        return Diagnosis(tuple(failed), (), None)
    (environment,) = looked
    done: list[Outcome] = []
    if with_imports:
        done = _guarded(
            lambda: _outcomes(environment, is_deep=is_deep, timeout=timeout), "imports", failed
        )
    checks = [functools.partial(check, environment) for check in _BY_METADATA]
    checks += [functools.partial(check, done) for check in _BY_IMPORT]
    checks.append(functools.partial(imports.slow_imports, done, slow))
    if not done:
        checks.append(functools.partial(code.missing_code, environment))
    findings = [
        finding for check in checks for finding in _guarded(check, check.func.__name__, failed)
    ]
    findings = sorted(
        [*findings, *failed],
        key=lambda one: (one.severity, one.distribution, one.plugin, one.check),
    )
    done.sort(key=lambda one: -(one.milliseconds or 0))
    return Diagnosis(tuple(findings), tuple(done), environment)


def _outcomes(environment: Environment, *, is_deep: bool, timeout: float) -> Iterator[Outcome]:
    modules = [name.strip() for name in os.environ.get("NOETHER_REGISTER", "").split(",")]
    return outcomes(environment.plugins, filter(None, modules), is_deep=is_deep, timeout=timeout)


def _guarded(find: Callable[[], Iterable[Any]], name: str, failed: list[Finding]) -> list[Any]:
    """Return what *find* yields, up to where it fails; that is one more finding."""
    found: list[Any] = []
    try:
        found.extend(find())
    except Exception as error:  # noqa: BLE001  what is installed may be anything, and a check may not have thought of it
        message = f"the check '{name}' failed: {describe(error)}"
        remedy = "report it to the authors of Noether; the other checks were made"
        failed.append(Finding(severity="warning", check="doctor", message=message, remedy=remedy))
    return found
