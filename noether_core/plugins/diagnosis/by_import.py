"""What is wrong with how plugins are imported, going by what became of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from noether_core import hookspecs
from noether_core.plugins.diagnosis.environment import Check, Finding, Severity, without
from noether_core.plugins.diagnosis.processes import Outcome

_AUTHORS = "report it to its authors"


def failures(outcomes: Iterable[Outcome]) -> Iterator[Finding]:
    """Yield the plugins that cannot be imported, or whose module class is not there."""
    for one in outcomes:
        reason = one.reason or one.complaint
        if reason is not None:
            check: Check = "import" if one.reason else "module"
            remedy = "correct the module, or take it out"
            if one.entry is not None:
                remedy = without(one.entry)
            yield _finding("error", check, one, reason, remedy)


def torch_with_configs(outcomes: Iterable[Outcome]) -> Iterator[Finding]:
    """Yield the plugins that import torch before anybody builds a module."""
    for one in outcomes:
        if one.imports_torch:
            message = (
                f"{one.module} imports torch, so that whatever reads a config of it "
                f"waits for torch{_duration(one)}"
            )
            remedy = f"{_AUTHORS}: torch belongs into the file of the module"
            yield _finding("warning", "torch", one, message, remedy)


def slow_imports(outcomes: Iterable[Outcome], slow: float) -> Iterator[Finding]:
    """Yield the plugins whose import takes over *slow* milliseconds, though it brings no torch."""
    for one in outcomes:
        if one.milliseconds is not None and one.milliseconds > slow and not one.imports_torch:
            message = f"{one.module} is slow to import{_duration(one)}"
            remedy = f"{_AUTHORS}: python -X importtime shows what takes long"
            yield _finding("warning", "slow-import", one, message, remedy)


def old_contracts(outcomes: Iterable[Outcome]) -> Iterator[Finding]:
    """Yield the plugins that were written for an older contract and still work."""
    current = hookspecs.hookspec_version
    for one in outcomes:
        if one.api_version is None or one.api_version >= current:
            continue
        changes = [
            text for number, text in sorted(hookspecs.CHANGES.items()) if number > one.api_version
        ]
        remedy = f"install a newer one, or {_AUTHORS}"
        if changes:
            remedy = f"{_AUTHORS}: {'; '.join(changes)}"
        message = (
            f"{one.module} was written for version {one.api_version} of the plugin contract, "
            f"and this is version {current}"
        )
        yield _finding("warning", "contract", one, message, remedy)


def side_effects(outcomes: Iterable[Outcome]) -> Iterator[Finding]:
    """Yield what plugins print and register when imported, and modules that register nothing."""
    for one in outcomes:
        if one.printed:
            message = f"{one.module} prints when it is imported, into what commands print"
            yield _finding("warning", "output", one, f"{message}: {one.printed!r}", _AUTHORS)
        if one.entry is not None and one.registered:
            types = " and ".join(map(repr, one.registered))
            message = (
                f"{one.module} registers {types} in the process when it is imported, and only then"
            )
            remedy = f"{_AUTHORS}: an entry point is found by everybody"
            yield _finding("warning", "registers", one, message, remedy)
        if one.entry is None and not one.registered and not one.reason:
            message = f"{one.module} registers no type"
            yield _finding("warning", "setting", one, message, "take it out")


def _duration(one: Outcome) -> str:
    return "" if one.milliseconds is None else f": {one.milliseconds:.0f} ms"


def _finding(severity: Severity, check: Check, one: Outcome, message: str, remedy: str) -> Finding:
    if one.entry is not None:
        return Finding.of_plugin(severity, check, one.entry, message, remedy)
    return Finding(
        severity=severity, check=check, message=message, remedy=remedy, origin="NOETHER_REGISTER"
    )
