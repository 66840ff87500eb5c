"""For every check there is a small broken variant that it alone catches."""

from __future__ import annotations

from collections import Counter

import pytest

from noether_core.testing import CHECKS, check_variant
from noether_core.testing.contract import implied_by, name_of
from tests.core.testing.kit_configs import PLACED, SOUND
from tests.core.testing.kit_more import FROZEN, MORE, SILENT
from tests.core.testing.kit_mutants import GROUPED, MUTANTS

SOUND_VARIANTS = {
    "sound": SOUND,
    "placed": PLACED,
    "grouped": GROUPED,
    "silent": SILENT,
    "frozen": FROZEN,
}
NAMES = [name_of(check) for check in CHECKS]

_caught: Counter[str] = Counter()


@pytest.mark.parametrize("name", SOUND_VARIANTS)
def test_sound_variants_pass(name):
    report = check_variant(SOUND_VARIANTS[name])
    assert report.is_passed, report


def test_every_check_applies_to_some_sound_variant():
    implied = {check for variant in SOUND_VARIANTS.values() for check in implied_by(variant)}
    assert implied == set(CHECKS)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught_by_its_check_and_by_no_other(name):
    report = check_variant(MUTANTS[name])
    assert [outcome.check for outcome in report.failures] == [name], report
    assert not report.is_passed
    assert report.missing == ()
    assert [outcome.check for outcome in report.outcomes] == NAMES
    assert report.counts["failed"] + report.counts["error"] == 1
    _caught[name] += 1


def test_every_check_has_its_mutant_and_caught_it():
    assert len(NAMES) == len(set(NAMES)) == 46
    assert list(MUTANTS) == NAMES
    assert len({id(variant) for variant in MUTANTS.values()}) == len(NAMES)
    if _caught.total() == len(NAMES):  # all of them ran in this process
        assert _caught == Counter(NAMES)


@pytest.mark.parametrize("name", ["Counted", "Looping", "Stepping"])
def test_a_module_that_is_compiled_too_often_is_caught_by_nothing_else(name):
    (variant,) = (
        variant for _, variant, _ in MORE if variant.module == f"tests.core.testing.kit_more:{name}"
    )
    assert [outcome.check for outcome in check_variant(variant).failures] == ["compile"]


@pytest.mark.parametrize(
    ("check", "variant", "told"),
    MORE,
    ids=[f"{check}-{variant.module[9:]}" for check, variant, _ in MORE],
)
def test_another_clause_that_is_broken_is_told(check, variant, told):
    (outcome,) = check_variant(variant, only=[check]).outcomes
    assert outcome.status == "failed"
    assert told in outcome.message
    assert outcome.message.startswith(f"{variant.type}: ")
