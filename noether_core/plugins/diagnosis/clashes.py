"""Names that more than one thing bears, before anybody uses them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from noether_core.plugins.diagnosis.environment import Environment
from noether_core.plugins.diagnosis.finding import Finding, warning
from noether_core.plugins.metadata import EntryPoint
from noether_core.plugins.resolution import AMBIGUOUS, candidates


def types(environment: Environment) -> Iterator[Finding]:
    """Yield the types that several packages provide and none is preferred for."""
    ambiguous = [one.entry for one in candidates(environment.known) if one.state == AMBIGUOUS]
    for entries in _by_name(ambiguous):
        yield _clash(
            "type",
            entries,
            f"write {' or '.join(repr(entry.qualified_name) for entry in entries)} in configs, "
            f"or set NOETHER_PREFER={entries[0].qualified_name}, say",
        )


def commands(environment: Environment) -> Iterator[Finding]:
    """Yield the commands whose bare name is taken, by the core or by another package."""
    for entries in _by_name(environment.known.commands()):
        spelt = " or ".join(f"noether {entry.qualified_name}" for entry in entries)
        if entries[0].name in environment.core_commands:
            for entry in entries:
                message = f"the command '{entry.name}' is Noether's own, which goes before that of {entry.distribution}"
                yield warning("clash", entry, message, f"write noether {entry.qualified_name}")
        elif len(entries) > 1:
            yield _clash("command", entries, f"write {spelt}")


def look_alikes(environment: Environment) -> Iterator[Finding]:
    """Yield the names of plugins that read like others of their group, or cannot be typed on every
    keyboard.
    """
    alike: dict[tuple[str, str], set[str]] = {}
    for entry in environment.plugins:
        alike.setdefault(_folded(entry), set()).add(entry.name)
    for entry in environment.plugins:
        if not entry.name.isascii():
            escaped = entry.name.encode("unicode_escape").decode()
            message = (
                f"'{entry.name}' is not ASCII: it is '{escaped}', which may pass for another name"
            )
            yield warning(
                "look-alike", entry, message, "make sure that it is what you meant to install"
            )
        others = sorted(alike[_folded(entry)] - {entry.name})
        if others:
            message = f"'{entry.name}' reads like {' and '.join(map(repr, others))}, which is another name"
            yield warning(
                "look-alike", entry, message, "make sure that configs name the one that is meant"
            )


def _folded(entry: EntryPoint) -> tuple[str, str]:
    """Return the group of a plugin, and its name without what readers overlook."""
    return entry.group, unicodedata.normalize("NFKC", entry.name).casefold().replace(
        "-", "_"
    ).replace(".", "_")


def _by_name(entries: Iterable[EntryPoint]) -> list[list[EntryPoint]]:
    named: dict[str, list[EntryPoint]] = {}
    for entry in entries:
        named.setdefault(entry.name, []).append(entry)
    return list(named.values())


def _clash(kind: str, entries: Sequence[EntryPoint], remedy: str) -> Finding:
    providers = " and ".join(entry.provider for entry in entries)
    return Finding(
        severity="warning",
        check="clash",
        message=f"the {kind} '{entries[0].name}' is provided by {providers}; its bare name is refused",
        remedy=remedy,
        plugin=entries[0].qualified_name,
        origin=entries[0].origin,
    )
