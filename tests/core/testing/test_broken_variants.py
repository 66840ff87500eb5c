"""For every check there is a small broken variant that it alone catches."""

from __future__ import annotations

from collections import Counter

import pytest

from noether_core.testing import CHECKS, Subject, check_variant
from tests.core.testing.broken_clauses import FROZEN, MORE, SILENT
from tests.core.testing.broken_variants import BROKEN, GATHERING, GROUPED
from tests.core.testing.sample_configs import PLACED, SOUND

SOUND_VARIANTS = {
    "sound": SOUND,
    "placed": PLACED,
    "grouped": GROUPED,
    "silent": SILENT,
    "frozen": FROZEN,
}

DEAR = {"config_without_torch", "time_exponent", "compile", "export"}
"""Checks that take three quarters of the time; by night they look at every broken variant."""

_caught: Counter[str] = Counter()


def check_broken(name, checks):
    """Check that of some checks the one of this name fails, and no other."""
    report = check_variant(BROKEN[name], only=checks)
    assert [outcome.check for outcome in report.failures] == [name], report
    assert not report.is_passed
    assert report.missing == tuple(check for check in report.implied if check not in checks)
    assert [outcome.check for outcome in report.outcomes] == [
        check for check in CHECKS if check in checks
    ]
    assert report.counts["failed"] + report.counts["error"] == 1


@pytest.mark.parametrize("name", ["sound", "grouped"])
def test_sound_variants_pass(name):
    report = check_variant(SOUND_VARIANTS[name])
    assert report.is_passed, report


@pytest.mark.parametrize("name", ["placed", "silent", "frozen"])
def test_sound_variants_pass_what_is_cheap(name):
    report = check_variant(SOUND_VARIANTS[name], only=CHECKS.keys() - DEAR)
    assert not report.failures, report
    assert set(report.missing) <= DEAR


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["placed", "silent", "frozen"])
def test_sound_variants_pass_everything(name):
    report = check_variant(SOUND_VARIANTS[name])
    assert report.is_passed, report


def test_every_check_applies_to_some_sound_variant():
    subjects = [Subject.of(variant) for variant in (*SOUND_VARIANTS.values(), GATHERING)]
    for check in CHECKS.values():
        assert any(check.is_implied_by(subject) for subject in subjects), check.name


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_variant_is_caught_by_its_check_and_by_nothing_else_that_is_cheap(name):
    check_broken(name, (CHECKS.keys() - DEAR) | {name})
    _caught[name] += 1


@pytest.mark.nightly
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_variant_is_caught_by_its_check_and_by_no_other(name):
    check_broken(name, CHECKS.keys())


def test_nothing_else_fails_for_a_broken_variant():
    check_broken("help", CHECKS.keys())


def test_every_check_has_its_broken_variant_and_caught_it():
    assert list(BROKEN) == list(CHECKS)
    assert len({id(variant) for variant in BROKEN.values()}) == len(CHECKS) == 50
    if _caught.total() == len(CHECKS):  # all of them ran in this process
        assert _caught == Counter(CHECKS.keys())


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["Counted", "Looping", "Stepping"])
def test_a_module_that_is_compiled_too_often_is_caught_by_nothing_else(name):
    (variant,) = (variant for _, variant, _ in MORE if variant.module.endswith(f":{name}"))
    assert [outcome.check for outcome in check_variant(variant).failures] == ["compile"]


def name_of(check: str, module: str) -> str:
    return f"{check}-{module.partition(':')[2]}"


@pytest.mark.parametrize(
    ("check", "variant", "message"),
    MORE,
    ids=[name_of(check, variant.module) for check, variant, _ in MORE],
)
def test_another_clause_that_is_broken_is_reported(check, variant, message):
    (outcome,) = check_variant(variant, only=[check]).outcomes
    assert outcome.status == "failed"
    assert message in outcome.message
    assert outcome.message.startswith(f"{variant.type}: ")
