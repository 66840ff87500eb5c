"""Where most checks would fail for one reason, one reports it and the others are skipped."""

from __future__ import annotations

from typing import ClassVar

import pytest

from noether_core import UnknownTypeError
from noether_core.testing import CHECKS, VariantTests, check_variant
from tests.core.testing.sample_configs import SOUND
from tests.core.testing.strange_variants import HOPELESS

# A process of its own each, which finds nothing here.
CHEAP = [name for name in CHECKS if name != "config_without_torch"]


@pytest.mark.parametrize("name", HOPELESS)
def test_what_keeps_checks_from_saying_anything_is_one_failure(name):
    variant, check, message = HOPELESS[name]
    report = check_variant(variant, only=CHEAP)

    assert [outcome.check for outcome in report.failures] == [check], report
    (failure,) = report.failures
    assert failure.status == "failed"
    assert message in failure.message
    skipped = [outcome for outcome in report.outcomes if outcome.status == "not applicable"]
    reason = f"; the check {check!r} reports it"
    assert sum(outcome.message.endswith(reason) for outcome in skipped) > 10, report


def ends_of(tests: type[VariantTests]) -> dict[str, str]:
    """Return why each test of a class fails or is skipped, as far as it does."""
    ends = {}
    for name in CHEAP:
        try:
            getattr(tests(), f"test_{name}")()
        except pytest.skip.Exception as reason:
            ends[name] = f"skipped: {reason}"
        except Exception as error:  # noqa: BLE001  whatever the check raises
            ends[name] = f"failed: {error}"
    return ends


class LostTests(VariantTests):
    type, _, _ = HOPELESS["no such class"]


class NobodyTests(VariantTests):
    type = "nobody"


class UnevenTests(VariantTests):
    type = SOUND
    options: ClassVar = {"num_heads": 3}


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        (LostTests, "no module of the example can be made: PluginError: 'lost'"),
        (UnevenTests, "no config of the example can be made: ConfigError: num_heads: 3 does not"),
    ],
)
def test_a_class_of_tests_has_one_failure_and_skips_the_others_with_the_reason(tests, reason):
    ends, name = ends_of(tests), tests.type.type
    assert [check for check, end in ends.items() if end.startswith("failed")] == ["construction"]
    assert ends["construction"].startswith(f"failed: {name}: {reason}")
    skipped = [end for end in ends.values() if end.startswith(f"skipped: {reason}")]
    assert len(skipped) > 35
    assert all(end.endswith("; the check 'construction' reports it") for end in skipped)


def test_a_class_of_tests_for_no_type_has_one_failure_and_skips_the_others():
    with pytest.raises(UnknownTypeError):
        NobodyTests().test_construction()
    ends = ends_of(NobodyTests)
    assert list(ends) == CHEAP
    assert [name for name, end in ends.items() if end.startswith("failed")] == ["construction"]
    assert ends["rope"].startswith("skipped: type: 'nobody' is not installed")
