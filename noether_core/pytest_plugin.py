"""The pytest plugin: ``pytest --noether TYPE`` runs every check on a variant as a test.

It is loaded whenever pytest starts, and imports nothing until it is given a type.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take for typing's
if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("noether", "attention variants of Noether")
    group.addoption(
        "--noether",
        action="append",
        default=[],
        metavar="TYPE",
        help="check an attention variant; alone unless paths are given; may be repeated",
    )
    group.addoption(
        "--noether-report", metavar="FILE", help="save the reports of the checks as JSON"
    )
    group.addoption(
        "--noether-device", default="cpu", metavar="DEVICE", help="where checks run; cpu by default"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Take part where a type is given."""
    if config.getoption("--noether"):
        import pytest

        from noether_core.errors import MissingExtraError

        try:
            from noether_core.testing.pytest_items import Checks
        except ModuleNotFoundError as error:
            reason = MissingExtraError("pytest --noether", error.name or "torch", "torch")
            raise pytest.UsageError(str(reason)) from error

        config.pluginmanager.register(Checks(config), "noether_checks")
