"""What is wrong with how plugins are imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from noether_core import hookspecs
from noether_core.plugins.diagnosis.finding import Finding, Severity, without
from noether_core.plugins.diagnosis.processes import Outcome

_AUTHORS = "tell its authors"


def failures(outcomes: Iterable[Outcome]) -> Iterator[Finding]:
    """Yield the plugins that cannot be imported, or whose module class is not there."""
    for one in outcomes:
        reason = one.reason or one.complaint
        if reason is not None:
            remedy = (
                "correct the module, or take it out" if one.entry is None else without(one.entry)
            )
            yield _finding("error", "import" if one.reason else "module", one, reason, remedy)


def torch_with_configs(outcomes: Iterable[Outcome]) -> Iterator[Finding]:
    """Yield the plugins that import torch before anybody builds a module."""
    for one in outcomes:
        if one.imports_torch:
            message = f"{one.module} imports torch, so that whatever reads a config of it waits for torch{_duration(one)}"
            yield _finding(
                "warning",
                "torch",
                one,
                message,
                f"{_AUTHORS}: torch belongs into the file of the module",
            )


def slow_imports(outcomes: Iterable[Outcome], slow: float) -> Iterator[Finding]:
    """Yield the plugins whose import takes more than *slow* milliseconds, but for those that torch
    makes slow.
    """
    for one in outcomes:
        if one.milliseconds is not None and one.milliseconds > slow and not one.imports_torch:
            message = f"{one.module} is slow to import{_duration(one)}"
            yield _finding(
                "warning",
                "slow-import",
                one,
                message,
                f"{_AUTHORS}: python -X importtime shows what takes long",
            )


def old_contracts(outcomes: Iterable[Outcome]) -> Iterator[Finding]:
    """Yield the plugins that were written for an older contract and still work."""
    current = hookspecs.hookspec_version
    for one in outcomes:
        if one.api_version is not None and one.api_version < current:
            changes = [
                text
                for number, text in sorted(hookspecs.CHANGES.items())
                if number > one.api_version
            ]
            written = (
                f"{one.module} was written for version {one.api_version} of the plugin contract"
            )
            remedy = (
                f"{_AUTHORS}: {'; '.join(changes)}"
                if changes
                else f"install a newer one, or {_AUTHORS}"
            )
            yield _finding(
                "warning", "contract", one, f"{written}, and this is version {current}", remedy
            )


def side_effects(outcomes: Iterable[Outcome]) -> Iterator[Finding]:
    """Yield the plugins that print or register types while they are imported, and modules that
    register none.
    """
    for one in outcomes:
        if one.printed:
            message = f"{one.module} prints when it is imported, into what commands print: {one.printed!r}"
            yield _finding("warning", "output", one, message, _AUTHORS)
        if one.entry is not None and one.registered:
            types = " and ".join(map(repr, one.registered))
            message = (
                f"{one.module} registers {types} in the process when it is imported, and only then"
            )
            yield _finding(
                "warning",
                "registers",
                one,
                message,
                f"{_AUTHORS}: an entry point is found by everybody",
            )
        if one.entry is None and not one.registered and not one.reason:
            yield _finding(
                "warning", "setting", one, f"{one.module} registers no type", "take it out"
            )


def _duration(one: Outcome) -> str:
    return "" if one.milliseconds is None else f": {one.milliseconds:.0f} ms"


def _finding(severity: Severity, check: str, one: Outcome, message: str, remedy: str) -> Finding:
    entry = one.entry
    return Finding(
        severity=severity,
        check=check,
        message=message,
        remedy=remedy,
        distribution=entry.distribution if entry else "",
        version=entry.version if entry else "",
        plugin=entry.qualified_name if entry else "",
        origin=entry.origin if entry else "NOETHER_REGISTER",
    )
