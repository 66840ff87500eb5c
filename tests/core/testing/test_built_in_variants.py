"""The variants that ship with Noether pass the public kit."""

from __future__ import annotations

import pytest

from noether_core import registry
from noether_core.testing import CHECKS, check_variant
from tests.sampling import ONE_OF_EACH_FORM, sampled

BUILT_IN = [
    entry.name for entry in registry().providers() if entry.distribution == "noether-attention"
]


@pytest.mark.parametrize("name", sampled(BUILT_IN, *ONE_OF_EACH_FORM))
def test_it_passes_every_check_that_its_record_implies(name):
    report = check_variant(name)
    assert report.is_passed, report
    assert report.counts["passed"] == len(report.implied) >= 38


@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - set(ONE_OF_EACH_FORM)))
def test_it_passes_the_checks_of_everything_but_whole_graphs(name):
    report = check_variant(name, only=CHECKS.keys() - {"compile", "export"})
    assert not report.failures, report
    assert set(report.missing) == {"compile", "export"}
