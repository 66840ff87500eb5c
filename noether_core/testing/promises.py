"""Checks of what a record may promise and need not."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from noether_core.hookspecs import Capability
from noether_core.testing.failures import NotApplicable

if TYPE_CHECKING:
    from noether_core.testing.subject import Subject

CheckFunction = Callable[["Subject"], "str | None"]
"""A check: it returns where the variant holds the contract, with what it measured if that is of
interest.
"""

_CAPABILITIES = "noether_capabilities"


def promise(*capabilities: Capability) -> Callable[[CheckFunction], CheckFunction]:
    """Mark a check as one of what records with any of *capabilities* promise; it applies to no
    others.
    """

    def mark(check: CheckFunction) -> CheckFunction:
        @functools.wraps(check)
        def checked(subject: Subject) -> str | None:
            if not any(subject.honours(capability) for capability in capabilities):
                raise NotApplicable(f"the record does not declare {' or '.join(capabilities)}")
            return check(subject)

        setattr(checked, _CAPABILITIES, capabilities)
        return checked

    return mark


def capabilities_of(check: CheckFunction) -> tuple[Capability, ...]:
    """Return the capabilities of which any makes *check* apply; none for a check of every variant."""
    found: tuple[Capability, ...] = getattr(check, _CAPABILITIES, ())
    return found
