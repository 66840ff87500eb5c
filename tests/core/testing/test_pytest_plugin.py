"""The kit as pytest runs it: ``pytest --noether TYPE``, and a class of tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from noether_core.reports import load_reports
from noether_core.testing import CHECKS
from tests.fresh_environment import ROOT

OWN = "def test_own():\n    pass\n"

BROKEN = """
import sys
sys.path.insert(0, {root!r})

from tests.core.testing.broken_variants import BROKEN
from noether_core import registry

registry().register(BROKEN["help"])
"""

CLASSES = """
from noether_core.testing import VariantTests
from tests.core.testing.sample_configs import SOUND


class TestFlare(VariantTests):
    type = "flare"
    options = {"num_latents": 3}

    def test_help(self):
        assert self.subject().config().num_latents == 3
        super().test_help()


class TestSound(VariantTests):
    type = SOUND
"""


PRINTS_IMPORTED = """
import sys


def test_own():
    print(*(name for name in sys.modules if "noether" in name))
"""


@pytest.fixture
def run(tmp_path):
    """Return what runs pytest in a folder with one test of its own."""
    (tmp_path / "test_own.py").write_text(OWN)

    def pytest_run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )

    return pytest_run


def test_a_type_is_checked_alone_where_no_paths_are_given(run):
    done = run("--noether", "flare", "--collect-only", "-q")
    assert done.returncode == 0, done.stdout
    wanted = [f"noether::flare::{name}" for name in CHECKS]
    assert [line for line in done.stdout.splitlines() if "::" in line] == wanted


def test_beside_paths_it_is_checked_with_their_tests(run):
    done = run("--noether", "flare", "--noether", "mixed", "test_own.py", "-k", "own or help", "-v")
    assert done.returncode == 0, done.stdout
    for line in (
        "test_own.py::test_own PASSED",
        "noether::flare::help PASSED",
        "noether::mixed::help PASSED",
    ):
        assert line in done.stdout
    assert "flare of noether-attention 0.1.0: incomplete: 1 passed" in done.stdout


def test_what_does_not_apply_is_skipped_with_its_reason_and_the_reports_are_saved(run, tmp_path):
    done = run("--noether", "flare", "-k", "rope or help", "-rs", "--noether-report", "report.json")
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 skipped" in done.stdout
    assert "the record does not promise rope" in done.stdout
    assert "written to report.json" in done.stdout
    (report,) = load_reports(tmp_path / "report.json")
    assert {outcome.check: outcome.status for outcome in report.outcomes} == {
        "help": "passed",
        "rope": "not applicable",
    }
    assert not report.is_passed


def test_a_failure_says_what_is_wrong_without_a_traceback(run, tmp_path):
    (tmp_path / "conftest.py").write_text(BROKEN.format(root=str(ROOT)))
    done = run("--noether", "sound", "-k", "help or signature")
    assert done.returncode == 1
    assert "sound: no help under shift; write a string below each field" in done.stdout
    assert "The contract: Every option has help: a string under its field." in done.stdout
    assert "Traceback" not in done.stdout
    assert "checks/configs.py" not in done.stdout
    assert "1 failed, 1 passed" in done.stdout
    assert "sound of in-process: failed: 1 passed, 1 failed" in done.stdout


def test_an_unknown_type_is_wrong_usage(run):
    done = run("--noether", "flar")
    assert done.returncode == 4
    assert "--noether flar: type: 'flar' is not installed; did you mean 'flare'?" in done.stderr


def test_without_a_type_nothing_changes_and_next_to_nothing_is_imported(run, tmp_path):
    (tmp_path / "test_own.py").write_text(PRINTS_IMPORTED)
    done = run("-q", "-s")
    assert done.returncode == 0, done.stdout
    names = done.stdout.splitlines()[0].rstrip(".").split()
    assert names == ["noether_core", "noether_core.pytest_plugin"]


def test_a_class_has_a_test_for_every_check_which_may_be_overridden(run, tmp_path):
    (tmp_path / "test_own.py").write_text(CLASSES)
    done = run("-k", "help or rope or attn_mask", "-v", "-rs", "test_own.py")
    assert done.returncode == 0, done.stdout
    for line in (
        "test_own.py::TestFlare::test_help PASSED",
        "test_own.py::TestFlare::test_rope SKIPPED",
        ": the record does not promise rope",
        "test_own.py::TestSound::test_rope PASSED",
        "test_own.py::TestSound::test_attn_mask PASSED",
    ):
        assert line in done.stdout
    assert f"4 passed, 2 skipped, {2 * len(CHECKS) - 6} deselected" in done.stdout


def test_reports_that_cannot_be_written_are_reported(run):
    done = run("--noether", "flare", "-k", "help", "--noether-report", "nowhere/report.json")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert (
        "reports cannot be written: [Errno 2] No such file or directory: 'nowhere/report.json'"
        in done.stdout
    )
    assert "INTERNALERROR" not in done.stdout + done.stderr


def test_the_report_is_plain_json(run, tmp_path):
    run("--noether", "flare", "-k", "help", "--noether-report", str(tmp_path / "report.json"))
    (plain,) = json.loads((tmp_path / "report.json").read_text())["reports"]
    assert plain["type"] == "flare"
    assert plain["counts"] == {"passed": 1, "failed": 0, "error": 0, "not applicable": 0}
