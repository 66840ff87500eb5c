"""The variants that ship with Noether pass the public kit."""

from __future__ import annotations

import pytest

from noether_core import registry
from noether_core.testing import check_variant

BUILT_IN = [
    entry.name for entry in registry().providers() if entry.distribution == "noether-attention"
]


@pytest.mark.parametrize("name", BUILT_IN)
def test_it_passes_every_check_that_its_record_implies(name):
    report = check_variant(name)
    assert report.is_passed, report
    assert report.counts["passed"] == len(report.implied) >= 38
