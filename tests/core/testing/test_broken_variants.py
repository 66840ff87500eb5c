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

_caught: Counter[str] = Counter()


@pytest.mark.parametrize("name", SOUND_VARIANTS)
def test_sound_variants_pass(name):
    report = check_variant(SOUND_VARIANTS[name])
    assert report.is_passed, report


def test_every_check_applies_to_some_sound_variant():
    subjects = [Subject.of(variant) for variant in (*SOUND_VARIANTS.values(), GATHERING)]
    for check in CHECKS.values():
        assert any(check.is_implied_by(subject) for subject in subjects), check.name


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_variant_is_caught_by_its_check_and_by_no_other(name):
    report = check_variant(BROKEN[name])
    assert [outcome.check for outcome in report.failures] == [name], report
    assert not report.is_passed
    assert report.missing == ()
    assert [outcome.check for outcome in report.outcomes] == list(CHECKS)
    assert report.counts["failed"] + report.counts["error"] == 1
    _caught[name] += 1


def test_every_check_has_its_broken_variant_and_caught_it():
    assert list(BROKEN) == list(CHECKS)
    assert len({id(variant) for variant in BROKEN.values()}) == len(CHECKS) == 50
    if _caught.total() == len(CHECKS):  # all of them ran in this process
        assert _caught == Counter(CHECKS.keys())


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


def test_a_wrong_path_to_the_module_is_one_failure_and_not_forty():
    (variant,) = (variant for _, variant, _ in MORE if variant.module.endswith(":Nobody"))
    report = check_variant(variant)
    assert [outcome.check for outcome in report.failures] == ["construction"]
    skipped = [outcome for outcome in report.outcomes if outcome.status == "not applicable"]
    reason = "no module of the example can be made; the check 'construction' says why"
    assert sum(outcome.message == reason for outcome in skipped) > 35
