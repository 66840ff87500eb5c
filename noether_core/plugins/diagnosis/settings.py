"""Whether the environment variables name what there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from noether_core.plugins.diagnosis.environment import Environment
from noether_core.plugins.diagnosis.finding import Finding
from noether_core.plugins.registry import IN_PROCESS
from noether_core.plugins.resolution import names_of
from noether_core.spelling import did_you_mean


def unmatched_names(environment: Environment) -> Iterator[Finding]:
    """Yield the names in ``NOETHER_BLOCK`` and ``NOETHER_PREFER`` that match no plugin."""
    index = environment.known.index
    names = {name for entry in (*index.entry_points, *index.shadowed) for name in names_of(entry)}
    for named in (environment.known.blocking, environment.known.preferring):
        for name, place in named.items():
            if name not in names and name.partition(":")[0] != IN_PROCESS:
                yield _setting(
                    place, f"'{name}' names no plugin that is installed", _way_out(name, names)
                )


def blocked_preferences(environment: Environment) -> Iterator[Finding]:
    """Yield the names that are preferred, and blocked as well."""
    blocked: Mapping[str, str] = environment.known.blocking
    for name, place in environment.known.preferring.items():
        for other in (name, name.partition(":")[0]):
            if other in blocked:
                yield _setting(
                    place,
                    f"'{name}' is blocked by {blocked[other]}={other}",
                    "take one of them back",
                )
                break


def _way_out(name: str, names: set[str]) -> str:
    """Return what may have been meant: a bare type where a distribution is asked for, or a name
    much alike.
    """
    qualified = sorted(other for other in names if other.partition(":")[2] == name)
    meant = f"write {' or '.join(qualified)}" if qualified else did_you_mean(name, sorted(names))
    return meant or "take it out, or install what it names"


def _setting(place: str, message: str, remedy: str) -> Finding:
    return Finding(
        severity="warning", check="setting", message=message, remedy=remedy, origin=place
    )
