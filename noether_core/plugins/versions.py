"""Versions of Noether: the one that is here, and those that packages ask for."""

from __future__ import annotations

import os

from noether_core.plugins.index import EntryPoint, canonical

CORE = "noether-attention"
"""Noether's own distribution."""


def core_version() -> str:
    """Return the version of Noether that is installed."""
    from importlib.metadata import version

    return version(CORE)


def required_core(entry: EntryPoint) -> str:
    """Return which versions of Noether the distribution of a plugin asks for: ``>=2.0``, or
    nothing.
    """
    try:
        with open(
            os.path.join(entry.origin, "METADATA"), encoding="utf-8", errors="replace"
        ) as file:
            headers = file.read().partition("\n\n")[0].splitlines()
    except OSError:  # registered in this process, or installed in an archive
        return ""
    requirements = (
        line.removeprefix("Requires-Dist:") for line in headers if line.startswith("Requires-Dist:")
    )
    return next((versions for name, versions in map(_parts_of, requirements) if name == CORE), "")


def _parts_of(requirement: str) -> tuple[str, str]:
    """Return the distribution and the versions that a requirement names; extras and markers are
    left out.
    """
    wanted = requirement.partition(";")[0].strip()
    length = next(
        (at for at, char in enumerate(wanted) if not (char.isalnum() or char in "-_.")), len(wanted)
    )
    return canonical(wanted[:length]), wanted[length:].partition("]")[2].strip(" ()") or wanted[
        length:
    ].strip(" ()")
