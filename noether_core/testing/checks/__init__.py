"""All checks, by theme and in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping

from noether_core.testing.checks import (
    arguments,
    compiling,
    configs,
    derivatives,
    layers,
    options,
    record,
    results,
    state,
    summaries,
    tokens,
    training,
)
from noether_core.testing.contract import Check

# From what is cheap and explains later failures to what is dear.
_THEMES = (
    configs,
    options,
    record,
    results,
    tokens,
    arguments,
    summaries,
    derivatives,
    training,
    layers,
    state,
    compiling,
)

CHECKS: Mapping[str, Check] = {
    check.name: check
    for theme in _THEMES
    for check in vars(theme).values()
    if isinstance(check, Check)
}
"""Every check by its name."""
