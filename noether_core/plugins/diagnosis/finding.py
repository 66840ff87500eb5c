"""What a check finds wrong."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from noether_core.plugins.metadata import EntryPoint

Severity = Literal["error", "warning"]


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that is wrong with what is installed, or will be."""

    severity: Severity
    """``error``: a plugin cannot be used. ``warning``: everything can, and a surprise is waiting.
    """

    check: str
    """The check that found it, one word or two with a hyphen: ``slow-import``."""

    message: str
    """What is wrong."""

    remedy: str
    """What to do about it."""

    distribution: str = ""
    """The distribution at fault, in its canonical spelling, where there is one."""

    version: str = ""
    """Its version, as far as it is known."""

    plugin: str = ""
    """The plugin at fault, by its qualified name, where it is one."""

    origin: str = ""
    """The folder or file in which the fault lies."""

    def as_dict(self) -> dict[str, Any]:
        """Return the same facts as plain data, ready for JSON."""
        return attrs.asdict(self)


def error(check: str, entry: EntryPoint, message: str, remedy: str) -> Finding:
    """Return the finding that a plugin cannot be used."""
    return _of_plugin("error", check, entry, message, remedy)


def warning(check: str, entry: EntryPoint, message: str, remedy: str) -> Finding:
    """Return the finding that a plugin holds a surprise."""
    return _of_plugin("warning", check, entry, message, remedy)


def _of_plugin(
    severity: Severity, check: str, entry: EntryPoint, message: str, remedy: str
) -> Finding:
    return Finding(
        severity=severity,
        check=check,
        message=message,
        remedy=remedy,
        distribution=entry.distribution,
        version=entry.version,
        plugin=entry.qualified_name,
        origin=entry.origin,
    )


def without(entry: EntryPoint) -> str:
    """Return how to do without a plugin that cannot be used."""
    return f"repair or uninstall {entry.distribution}, or leave it out: NOETHER_BLOCK={entry.qualified_name}"
