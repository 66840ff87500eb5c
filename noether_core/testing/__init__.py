"""The kit for authors of variants: checks of everything that a variant promises.

``pytest --noether acme_foo`` runs them, so does a subclass of `VariantTests`, and so does a
script::

    from noether_core.testing import check_variant

    print(check_variant("acme_foo"))

`check_task` checks a task.
"""

from __future__ import annotations

from noether_core.reports import Outcome, Report, load_reports, save_reports
from noether_core.testing.checks import CHECKS
from noether_core.testing.contract import CheckFailed, NotApplicable
from noether_core.testing.running import VariantTests, check_variant
from noether_core.testing.subject import Subject
from noether_core.testing.tasks import check_task

__all__ = [
    "CHECKS",
    "CheckFailed",
    "NotApplicable",
    "Outcome",
    "Report",
    "Subject",
    "VariantTests",
    "check_task",
    "check_variant",
    "load_reports",
    "save_reports",
]
