"""A registry in which a type that several packages provide means the one that somebody wrote down."""

from __future__ import annotations

import copy
from collections.abc import Iterable

from noether_core.plugins.registry import Registry


def preferring(known: Registry, plugins: Iterable[str]) -> Registry:
    """Return *known*, seen such that bare types mean some plugins before what it prefers itself.

    What is installed, imported, added and blocked in *known* is so in what is returned.

    Args:
        known: The registry.
        plugins: The plugins, each as ``distribution:type``.
    """
    known.providers()  # looks at what is installed, once for both
    seen = copy.copy(known)
    own = vars(seen)
    own["_prefer"] = {**dict.fromkeys(plugins, "prefer"), **own["_prefer"]}
    own["_resolved"] = {}
    return seen
