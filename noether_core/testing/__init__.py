"""The kit for authors: checks of everything that a variant promises, and of what a task does.

``pytest --noether acme_foo`` runs those of a variant, so does a subclass of `VariantTests`, and so
does a script::

    from noether_core.testing import check_variant

    print(check_variant("acme_foo"))

`check_task` checks a task. Names are imported on first use, so that it does without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noether_core.reports import Outcome as Outcome
    from noether_core.reports import Report as Report
    from noether_core.reports import load_reports as load_reports
    from noether_core.reports import save_reports as save_reports
    from noether_core.testing.checks import CHECKS as CHECKS
    from noether_core.testing.contract import CheckFailed as CheckFailed
    from noether_core.testing.contract import NotApplicable as NotApplicable
    from noether_core.testing.running import VariantTests as VariantTests
    from noether_core.testing.running import check_variant as check_variant
    from noether_core.testing.subject import Subject as Subject
    from noether_core.testing.tasks import check_task as check_task

# The same names for run time, each with the module that it is imported from.
_MODULES = {
    "Outcome": "noether_core.reports",
    "Report": "noether_core.reports",
    "load_reports": "noether_core.reports",
    "save_reports": "noether_core.reports",
    "CHECKS": "noether_core.testing.checks",
    "CheckFailed": "noether_core.testing.contract",
    "NotApplicable": "noether_core.testing.contract",
    "VariantTests": "noether_core.testing.running",
    "check_variant": "noether_core.testing.running",
    "Subject": "noether_core.testing.subject",
    "check_task": "noether_core.testing.tasks",
}

__all__ = sorted(_MODULES)  # noqa: PLE0605  derived, so that no name stands here a third time


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(import_module(_MODULES[name]), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
