"""Reports: what they count, what they say, and how they are saved and shipped."""

from __future__ import annotations

import json

import attrs
import pytest

from noether_core import ConfigError
from noether_core.cli import main
from noether_core.reports import (
    REPORT_FILE,
    Outcome,
    Report,
    load_reports,
    save_reports,
    shipped_report,
)
from tests.core.testing.sample_configs import SOUND

PASSED = Outcome(
    check="help",
    contract="Every option has help.",
    status="passed",
    message="7 options",
    seconds=0.5,
)
FAILED = Outcome(
    check="rope", contract="It rotates.", status="failed", message="toy: it does not turn\nat all"
)
ERROR = Outcome(check="result", contract="It returns.", status="error", message="KeyError: 'x'")
SKIPPED = Outcome(
    check="positions", contract="They act.", status="not applicable", message="not declared"
)


def report(*outcomes: Outcome, **facts: object) -> Report:
    facts = {
        "type": "toy",
        "distribution": "acme-toy",
        "version": "1.2.0",
        "implied": ["help"],
        **facts,
    }
    return Report(
        noether="0.1.0", torch="2.13.0", python="3.11.7", device="cpu", outcomes=outcomes, **facts
    )


def test_a_report_passes_where_all_that_is_implied_ran_and_nothing_failed():
    good = report(PASSED, SKIPPED)
    assert good.is_passed
    assert good.counts == {"passed": 1, "failed": 0, "error": 0, "not applicable": 1}
    assert good.headline == "passed: 1 passed, 1 not applicable"


@pytest.mark.parametrize("bad", [FAILED, ERROR])
def test_one_failure_fails_it(bad):
    failed = report(PASSED, bad)
    assert not failed.is_passed
    assert failed.failures == (bad,)
    assert failed.headline == f"failed: 1 passed, 1 {bad.status}"


def test_fewer_checks_than_are_implied_make_it_incomplete():
    partial = report(PASSED, implied=["help", "rope", "compile"])
    assert not partial.is_passed
    assert partial.missing == ("rope", "compile")
    assert partial.headline == "incomplete: 1 passed; 2 of 3 did not run"
    assert "did not run: rope, compile" in str(partial)


def test_a_report_of_nothing_is_incomplete():
    assert report().headline == "incomplete: no check ran; 1 of 1 did not run"


def test_on_a_terminal_all_failures_are_shown_with_their_contracts():
    lines = str(report(PASSED, SKIPPED, FAILED, ERROR)).splitlines()
    assert lines == [
        "  ok   help: 7 options",
        "  n/a  positions: not declared",
        "  FAIL rope: It rotates.",
        "      toy: it does not turn",
        "      at all",
        "  FAIL result: It returns.",
        "      KeyError: 'x'",
        "toy of acme-toy 1.2.0: failed: 1 passed, 1 failed, 1 error, 1 not applicable",
        "(noether-attention 0.1.0, torch 2.13.0, Python 3.11.7, cpu; 0.5 s)",
    ]


def test_json_gives_the_same_report_back_and_holds_what_follows():
    one = report(PASSED, FAILED, SKIPPED)
    assert Report.from_json(one.to_json()) == one
    (plain,) = json.loads(one.to_json())["reports"]
    assert plain["passed"] is False
    assert plain["counts"]["failed"] == 1
    assert plain["missing"] == []
    assert plain["outcomes"][0]["check"] == "help"


def test_a_file_holds_several_reports(tmp_path):
    reports = report(PASSED), report(FAILED, type="other")
    save_reports(tmp_path / "reports.json", reports)
    assert load_reports(tmp_path / "reports.json") == reports
    with pytest.raises(ConfigError, match="expected one report, got 2"):
        Report.from_json((tmp_path / "reports.json").read_text())


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("[]", "", "expected a mapping of options"),
        ('{"reports": [{}]}', "reports[0].type", "missing"),
        ('{"reports": [], "others": 1}', "others", "unknown option"),
    ],
)
def test_a_text_that_is_no_report_is_refused_with_its_path(text, path, message):
    with pytest.raises(ConfigError) as caught:
        Report.from_json(text)
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert message in found[path]


def test_an_outcome_has_one_of_four_ends():
    with pytest.raises(
        ConfigError, match="status: expected 'passed', 'failed', 'error' or 'not applicable'"
    ):
        attrs.evolve(PASSED, status="skipped")


@pytest.fixture
def shipped(site):
    """Return what installs a package with the type 'toy' and a file of reports."""

    def install(text: str | None):
        site.install("acme-toy", attention={"toy": "acme_toy"}, files={"acme_toy/__init__.py": ""})
        if text is not None:
            (site.folder / "acme_toy" / REPORT_FILE).write_text(text, encoding="utf-8")
        return site.registry().provider("toy")

    return install


def test_a_package_ships_its_report_beside_its_module(shipped):
    found = shipped_report(shipped(report(PASSED).to_json()))
    assert found.report == report(PASSED)
    assert (
        str(found) == "passed: 1 passed (noether-attention 0.1.0, torch 2.13.0, Python 3.11.7, cpu)"
    )
    assert found.as_dict()["passed"] is True


def test_a_report_of_another_version_says_so(shipped):
    found = shipped_report(shipped(report(PASSED, version="1.1.0").to_json()))
    assert str(found).startswith("passed: 1 passed (of acme-toy 1.1.0, noether-attention 0.1.0")


def test_without_a_file_there_is_none(shipped):
    found = shipped_report(shipped(None))
    assert (str(found), found.as_dict()) == ("none", None)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "cannot be used: "),
        ('{"reports": 3}', "reports: expected a list"),
        (report(PASSED, type="other").to_json(), "holds none of this type"),
    ],
)
def test_whatever_is_wrong_with_the_file_is_reported_and_not_raised(shipped, text, fault):
    found = shipped_report(shipped(text))
    assert found.report is None
    assert fault in str(found)
    assert found.as_dict() == {"fault": found.fault}


def test_a_variant_that_was_registered_in_process_ships_none(site):
    registry = site.registry()
    registry.register(SOUND)
    assert str(shipped_report(registry.provider("sound"))) == "none"


def test_a_module_that_is_not_there_ships_none(site):
    site.install("acme-lost", attention={"lost": "acme_lost.module"})
    assert str(shipped_report(site.registry().provider("lost"))) == "none"


def test_show_prints_the_report(site, monkeypatch, capsys):
    module = site.install_variant("toy")
    monkeypatch.setattr("noether_core.plugins.registry._default", site.registry())
    (site.folder / REPORT_FILE).write_text(
        report(FAILED, version="1.2.0").to_json(), encoding="utf-8"
    )

    assert main(["show", "toy", "--plain"]) == 0
    plain = capsys.readouterr().out
    assert main(["show", "toy", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)

    assert (
        "report\tfailed: 1 failed; 1 of 1 did not run (noether-attention 0.1.0, torch 2.13.0"
        in plain
    )
    assert shown["plugin"] == module
    assert shown["report"]["outcomes"][0]["message"] == FAILED.message


def test_show_survives_a_bad_report(site, monkeypatch, capsys):
    site.install_variant("toy")
    monkeypatch.setattr("noether_core.plugins.registry._default", site.registry())
    (site.folder / REPORT_FILE).write_bytes(b"\xff")

    assert main(["show", "toy", "--plain"]) == 0
    assert "is not UTF-8" in capsys.readouterr().out
