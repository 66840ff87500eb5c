"""The kit as pytest runs it: ``pytest --noether TYPE``, and a class of tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from noether_core.reports import load_reports
from noether_core.testing import CHECKS
from noether_core.testing.pytest_items import _subject
from tests.fresh_environment import ROOT

OWN = "def test_own():\n    pass\n"

BROKEN = """
import sys
sys.path.insert(0, {root!r})

from noether_core import registry
from tests.core.testing.broken_variants import BROKEN
from tests.core.testing.strange_variants import LOST

registry().register(BROKEN["help"])
registry().register(LOST)
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


def test_types_are_checked_beside_the_tests_of_paths_and_their_reports_saved(run, tmp_path):
    (tmp_path / "test_classes.py").write_text(CLASSES)
    done = run(
        *("--noether", "flare", "--noether", "mixed", "test_own.py", "test_classes.py"),
        *("-v", "-rs"),
        *("-k", "own or help or rope or attn_mask", "--noether-report", "report.json"),
    )
    assert done.returncode == 0, done.stdout
    for line in (
        "test_own.py::test_own PASSED",
        "noether::flare::help PASSED",
        "noether::flare::rope SKIPPED",
        "noether::mixed::help PASSED",
        # a class has a test for every check, which may be overridden
        "test_classes.py::TestFlare::test_help PASSED",
        "test_classes.py::TestFlare::test_rope SKIPPED",
        "test_classes.py::TestSound::test_rope PASSED",
        "test_classes.py::TestSound::test_attn_mask PASSED",
        "the record does not promise rope",
        "flare of noether-attention 0.1.0: incomplete: 1 passed, 2 not applicable",
        "written to report.json",
    ):
        assert line in done.stdout
    assert f", {4 * (len(CHECKS) - 3)} deselected" in done.stdout

    flare, mixed = load_reports(tmp_path / "report.json")
    assert (flare.type, mixed.type) == ("flare", "mixed")
    assert [(outcome.check, outcome.status) for outcome in flare.outcomes] == [
        ("help", "passed"),
        ("attn_mask", "not applicable"),
        ("rope", "not applicable"),
    ]
    assert not flare.is_passed
    plain, _ = json.loads((tmp_path / "report.json").read_text())["reports"]
    assert plain["counts"] == {"passed": 1, "failed": 0, "error": 0, "not applicable": 2}


def test_where_no_paths_are_given_types_are_checked_alone_and_failures_have_no_traceback(
    run, tmp_path
):
    (tmp_path / "conftest.py").write_text(BROKEN.format(root=str(ROOT)))
    done = run(
        *("--noether", "sound", "--noether", "lost", "-rs"),
        *("-k", "own or help or signature or construction or rope"),
    )
    assert done.returncode == 1
    assert "sound: no help under shift; write a string below each field" in done.stdout
    assert "The contract: Every option has help: a string under its field." in done.stdout
    assert "Traceback" not in done.stdout
    assert "checks/configs.py" not in done.stdout
    assert "sound of in-process: failed: 3 passed, 1 failed" in done.stdout
    # a module that is not there: one failure, and the others are skipped with the reason
    assert "lost: no module of the example can be made: PluginError: 'lost'" in done.stdout
    assert "lost of in-process: failed: 1 passed, 1 failed, 2 not applicable" in done.stdout
    assert "; the check 'construction' reports it" in done.stdout
    assert "2 failed, 4 passed, 2 skipped" in done.stdout


def test_an_unknown_type_is_wrong_usage(pytestconfig):
    with pytest.raises(
        pytest.UsageError, match="--noether flar: type: 'flar' is not installed; did"
    ):
        _subject(pytestconfig, "flar")


def test_without_a_type_nothing_changes_and_next_to_nothing_is_imported(run, tmp_path):
    (tmp_path / "test_own.py").write_text(PRINTS_IMPORTED)
    done = run("-q", "-s")
    assert done.returncode == 0, done.stdout
    names = done.stdout.splitlines()[0].rstrip(".").split()
    assert names == ["noether_core", "noether_core.pytest_plugin"]


def test_reports_that_cannot_be_written_are_reported(run):
    done = run("--noether", "flare", "-k", "help", "--noether-report", "nowhere/report.json")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert (
        "reports cannot be written: [Errno 2] No such file or directory: 'nowhere/report.json'"
        in done.stdout
    )
    assert "INTERNALERROR" not in done.stdout + done.stderr
