"""What is wrong with the metadata of distributions, be they plugins or not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from noether_core.plugins.diagnosis.environment import Environment
from noether_core.plugins.diagnosis.finding import Finding
from noether_core.plugins.diagnosis.installed import Installed, name_from
from noether_core.plugins.metadata import CORE, GROUPS
from noether_core.spelling import nearest


def unread_plugins(environment: Environment) -> Iterator[Finding]:
    """Yield what keeps plugins from being found."""
    for fault in environment.known.faults:
        name, version = name_from(fault.origin) if os.path.exists(fault.origin) else ("", "")
        remedy = "its authors must write it so; the other plugins are found nevertheless"
        yield Finding(
            severity="error",
            check="entry-point" if fault.line else "metadata",
            message=fault.reason if fault.line else f"{fault.reason}; none of its plugins is found",
            remedy=remedy if fault.line else _reinstall(name),
            distribution=name,
            version=version,
            origin=fault.origin,
        )


def unsound_metadata(environment: Environment) -> Iterator[Finding]:
    """Yield the distributions without plugins, as far as can be seen, at which pip and other tools
    may stop.
    """
    told = {fault.origin for fault in environment.known.faults}
    for one in environment.installed:
        if one.complaints and one.origin not in told:
            yield _warning("metadata", one, "; ".join(one.complaints), _reinstall(one.name))


def leftovers(environment: Environment) -> Iterator[Finding]:
    """Yield what interrupted uninstallations left."""
    for origin in environment.leftovers:
        name, version = name_from(origin)
        yield Finding(
            severity="warning",
            check="leftover",
            message=f"an interrupted uninstallation left {os.path.basename(origin)}",
            remedy="delete the folder, and those beside it that start with ~",
            distribution=name,
            version=version,
            origin=origin,
        )


def duplicates(environment: Environment) -> Iterator[Finding]:
    """Yield the distributions that are installed more than once.

    Those without plugins are told where the copies lie in one folder, which no installer does on
    purpose; a virtual environment that goes before another is none of our business.
    """
    copies: dict[str, list[Installed]] = {}
    for one in environment.installed:
        copies.setdefault(one.name, []).append(one)
    ours = environment.distributions_with_plugins | {CORE}
    for name, found in copies.items():
        if name in ours:
            yield from _hidden_copies(found, environment)
        else:
            yield from _crowded(found)


def _hidden_copies(found: Sequence[Installed], environment: Environment) -> Iterator[Finding]:
    """Yield the copies of a distribution with plugins that another hides, as the index ranks them."""
    counting, *hidden = sorted(found, key=lambda one: one.origin.endswith(".egg-info"))
    for one in hidden:
        if one.version == counting.version and one.origin.endswith(".egg-info"):
            continue  # what a build leaves in the source tree of an editable install
        only = sorted(
            entry.name
            for entry in environment.known.index.entry_points
            if entry.origin == one.origin
        )
        still = f", which still provides {' and '.join(map(repr, only))}" if only else ""
        message = f"{counting.version} in {counting.folder} hides {one.version or 'a copy'} in {one.folder}{still}"
        yield _warning("duplicate", one, message, "uninstall the one that is not meant")


def _crowded(found: Sequence[Installed]) -> Iterator[Finding]:
    for folder in {one.folder: None for one in found}:
        here = [one for one in found if one.folder == folder]
        if len(here) > 1:
            versions = " and ".join(one.version or "one without a version" for one in here)
            message = f"{versions} are installed in one folder, {folder}"
            yield _warning("duplicate", here[-1], message, _reinstall(here[-1].name))


def misspelt_groups(environment: Environment) -> Iterator[Finding]:
    """Yield groups of entry points that nobody asks for, and that look like Noether's."""
    for one in environment.installed:
        for group in one.groups:
            meant = (
                nearest(group, GROUPS)
                if "noether" in group.casefold() and group not in GROUPS
                else None
            )
            if meant is not None:
                message = f"[{group}] is no group of Noether, and what it announces is never found; [{meant}] is one"
                yield _warning("group", one, message, "its authors must write it so")


def _warning(check: str, one: Installed, message: str, remedy: str) -> Finding:
    return Finding(
        severity="warning",
        check=check,
        message=message,
        remedy=remedy,
        distribution=one.name,
        version=one.version,
        origin=one.origin,
    )


def _reinstall(name: str) -> str:
    if not name:
        return "repair or remove it"
    return f"reinstall it (pip install --force-reinstall --no-deps {name}) or delete its metadata"
