"""Checks as items of pytest, for ``pytest --noether``, and the reports of their outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from noether_core.errors import NoetherError
from noether_core.reports import Outcome, Report, save_reports
from noether_core.schemas.unstructure import unstructure
from noether_core.structuring.structure import structure
from noether_core.testing.checks import CHECKS
from noether_core.testing.contract import Check
from noether_core.testing.running import report_of, run_check
from noether_core.testing.subject import Subject

_OUTCOME = "noether_outcome"
"""The property of a test's report that carries the outcome, from worker processes too."""


class Checks:
    """What a run of pytest does about the types that it is given."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._subjects = {name: _subject(config, name) for name in config.getoption("--noether")}
        self._outcomes: dict[str, list[Outcome]] = {}
        self._saved = ""
        if config.args_source is not pytest.Config.ArgsSource.ARGS:
            config.args = []  # no paths were named: no other tests are meant

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> None:
        """Add a test for every check and type, before others choose among them."""
        for name, subject in self._subjects.items():
            variant = _Variant.from_parent(
                session, name=name, nodeid=f"noether::{name}", subject=subject
            )
            items.extend(variant.collect())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the outcome of a check, wherever it ran."""
        for key, value in report.user_properties:
            if key == _OUTCOME and report.when == "call":
                found: Any = value  # the type, and its outcome as plain data
                self._outcomes.setdefault(found[0], []).append(structure(found[1], Outcome))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Save the reports where a file was given."""
        file = self._config.getoption("--noether-report")
        if not file or hasattr(self._config, "workerinput"):  # workers leave it to their parent
            return
        try:
            save_reports(file, self._reports())
            self._saved = f"written to {file}"
        except OSError as error:
            self._saved = f"reports cannot be written: {error}"
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print a line for every type."""
        terminalreporter.section("noether")
        for report in self._reports():
            terminalreporter.line(f"{report.type} of {report.provider}: {report.headline}")
        if self._saved:
            terminalreporter.line(self._saved)

    def _reports(self) -> Iterator[Report]:
        for name, subject in self._subjects.items():
            yield report_of(subject, self._outcomes.get(name, []))


def _subject(config: pytest.Config, name: str) -> Subject:
    try:
        return Subject.of(name, device=config.getoption("--noether-device"))
    except NoetherError as error:
        raise pytest.UsageError(f"--noether {name}: {error}") from error


class _Variant(pytest.Collector):
    """The checks of a variant."""

    def __init__(self, *, subject: Subject, **known: Any) -> None:
        super().__init__(**known)
        self.subject = subject

    def collect(self) -> list[pytest.Item]:
        """Return a test for every check."""
        return [
            _CheckItem.from_parent(self, name=name, check=check) for name, check in CHECKS.items()
        ]


class _CheckItem(pytest.Item):
    """A check of a variant."""

    parent: _Variant

    def __init__(self, *, check: Check, **known: Any) -> None:
        super().__init__(**known)
        self.check = check

    def runtest(self) -> None:
        """Run the check."""
        outcome = run_check(self.check, self.parent.subject)
        self.user_properties.append((_OUTCOME, (self.parent.name, unstructure(outcome))))
        if outcome.status == "not applicable":
            pytest.skip(outcome.message)
        if outcome.is_bad:
            raise _Failed(f"{outcome.message}\nThe contract: {outcome.contract}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return what was wrong, without the frames of the kit."""
        if isinstance(excinfo.value, _Failed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[str, None, str]:
        """Return what pytest calls the check."""
        return "noether", None, self.nodeid


class _Failed(Exception):  # noqa: N818  it speaks of the variant: no error of the kit
    """A check that the variant did not pass."""
