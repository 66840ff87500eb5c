"""What is wrong, or will be, with the plugins that are installed: findings as data."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from noether_core.plugins.catalogue import Catalogue
from noether_core.plugins.diagnosis import by_import, by_metadata
from noether_core.plugins.diagnosis.environment import Environment, Finding, environment_of
from noether_core.plugins.diagnosis.processes import Outcome, outcomes
from noether_core.plugins.imports import describe

__all__ = ["Diagnosis", "Finding", "Outcome", "diagnose"]

TIMEOUT = 30.0
"""Seconds that the import of one plugin may take by default."""

SLOW = 200.0
"""Milliseconds above which an import is slow by default."""

_BY_METADATA = (
    by_metadata.unread_plugins,
    by_metadata.unsound_metadata,
    by_metadata.leftovers,
    by_metadata.duplicates,
    by_metadata.misspelt_groups,
    by_metadata.ambiguous_types,
    by_metadata.clashing_commands,
    by_metadata.look_alikes,
    by_metadata.code_of_others,
    by_metadata.shared_code,
    by_metadata.missing_torch,
    by_metadata.unmatched_settings,
    by_metadata.blocked_preferences,
)

_BY_IMPORT = (
    by_import.failures,
    by_import.torch_with_configs,
    by_import.old_contracts,
    by_import.side_effects,
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
        is_deep: Import the class of each variant and task there too, and make one by its example.
        timeout: Seconds that each of these processes may take.
        slow: Milliseconds above which an import is slow.
    """
    run = _Checks()
    found = run.guarded(
        "environment", lambda: [environment_of(Catalogue(), frozenset(core_commands))]
    )
    if not found:
        return Diagnosis(tuple(run.findings), (), None)
    (environment,) = found

    done: list[Outcome] = []
    if with_imports and getattr(sys, "frozen", False):
        with_imports = False
        run.findings.append(_NO_PYTHON)
    if with_imports:
        modules = [name.strip() for name in os.environ.get("NOETHER_REGISTER", "").split(",")]
        imports = functools.partial(
            outcomes,
            environment.plugins,
            filter(None, modules),
            is_deep=is_deep,
            timeout=timeout,
        )
        done = run.guarded("imports", imports)

    for by_metadata_check in _BY_METADATA:
        run.make(by_metadata_check, environment)
    for by_import_check in _BY_IMPORT:
        run.make(by_import_check, done)
    run.make(by_import.slow_imports, done, slow)
    if not done:  # an import would have found it
        run.make(by_metadata.missing_code, environment)

    done.sort(key=lambda one: -(one.milliseconds or 0))
    return Diagnosis(tuple(sorted(run.findings, key=_rank)), tuple(done), environment)


_NO_PYTHON = Finding(
    severity="warning",
    check="doctor",
    message="no plugin was imported: a packaged program has no Python to import it in",
    remedy="run doctor in the environment that the program was packed from",
)


def _rank(finding: Finding) -> tuple[str, ...]:
    return finding.severity, finding.distribution, finding.plugin, finding.check


class _Checks:
    """Makes checks, each guarded: what is installed may be anything."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def make(self, check: Callable[..., Iterable[Finding]], *arguments: Any) -> None:
        """Keep what a check finds."""
        self.findings += self.guarded(check.__name__, functools.partial(check, *arguments))

    def guarded(self, name: str, find: Callable[[], Iterable[Any]]) -> list[Any]:
        """Return what *find* yields, up to where it fails; that is one more finding."""
        found: list[Any] = []
        try:
            found.extend(find())
        except Exception as error:  # noqa: BLE001  a check may not have thought of what is installed
            message = f"the check '{name}' failed: {describe(error)}"
            remedy = "report it to the authors of Noether; the other checks were made"
            self.findings.append(
                Finding(severity="warning", check="doctor", message=message, remedy=remedy)
            )
        return found
