"""The checks as methods of a test class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from noether_core.hookspecs import AttentionVariant
from noether_core.plugins.registry import Registry
from noether_core.schemas.frozen_mapping import EMPTY
from noether_core.testing.contract import CHECKS, name_of
from noether_core.testing.failures import NotApplicable
from noether_core.testing.promises import CheckFunction
from noether_core.testing.subject import Subject


class VariantTests:
    """A test for every check.

    Inherit it, say which type, and pytest collects them::

        class TestWindow(VariantTests):
            type = "acme_window"

    Each check ``check_rope`` is a method ``test_rope``, which may be overridden; a check that does
    not apply is skipped with its reason.
    """

    type: ClassVar[str | AttentionVariant]
    """The variant: a type, bare or as ``distribution:type``, or a record."""

    options: ClassVar[Mapping[str, Any]] = EMPTY
    """Options that go before those of the record's example."""

    device: ClassVar[str] = "cpu"
    """Where modules run."""

    registry: ClassVar[Registry | None] = None
    """Where the type is looked up; the process-wide one where it is None."""

    def subject(self) -> Subject:
        """Return what is under test."""
        return Subject.of(
            self.type, registry=self.registry, device=self.device, options=self.options
        )


def _test_of(check: CheckFunction) -> Callable[[VariantTests], None]:
    def test(self: VariantTests) -> None:
        import pytest

        try:
            check(self.subject())
        except NotApplicable as reason:
            pytest.skip(str(reason))

    test.__name__ = f"test_{name_of(check)}"
    test.__qualname__ = f"{VariantTests.__name__}.{test.__name__}"
    test.__doc__ = check.__doc__
    return test


for _check in CHECKS:
    setattr(VariantTests, f"test_{name_of(_check)}", _test_of(_check))
