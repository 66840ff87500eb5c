"""How checks are run: by a script, which gets a report, and as a class of tests."""

from __future__ import annotations

import os
import platform
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ClassVar

import torch

from noether_core.errors import NoetherError
from noether_core.hookspecs import AttentionVariant
from noether_core.plugins.metadata import core_version
from noether_core.plugins.registry import Registry
from noether_core.reports import Outcome, Report, Status
from noether_core.schemas.frozen_mapping import EMPTY
from noether_core.testing.checks import CHECKS
from noether_core.testing.contract import Check, Kept, NotApplicable
from noether_core.testing.subject import Subject

_TORCH = os.path.dirname(torch.__file__)


def check_variant(
    source: str | AttentionVariant,
    *,
    registry: Registry | None = None,
    device: str = "cpu",
    only: Collection[str] | None = None,
) -> Report:
    """Return the report of every check on a variant.

    Args:
        source: A type, bare or as ``distribution:type``, or the record of a variant.
        registry: Where types are looked up; the process-wide one where it is None.
        device: Where modules run.
        only: Names of the checks to run, such as ``["rope", "compile"]``; all where it is None. A
            report of some is incomplete, and says so.

    Raises:
        UnknownTypeError: If no installed package provides the type.
        AmbiguousTypeError: If several do and it does not say which.
        PluginError: If the package that does cannot be used.
        ValueError: If there is no check of a name.
    """
    chosen = CHECKS.keys() if only is None else set(only)
    unknown = sorted(chosen - CHECKS.keys())
    if unknown:
        raise ValueError(f"there is no check {unknown[0]!r}; the checks are {', '.join(CHECKS)}")

    subject = Subject.of(source, registry=registry, device=device)
    outcomes = [run_check(check, subject) for name, check in CHECKS.items() if name in chosen]
    return report_of(subject, outcomes)


def run_check(check: Check, subject: Subject) -> Outcome:
    """Return how a check ends, whatever the variant raises."""
    start = time.perf_counter()
    status, message = _end_of(check, subject)
    return Outcome(
        check=check.name,
        contract=check.contract,
        status=status,
        message=message,
        seconds=round(time.perf_counter() - start, 4),
    )


def _end_of(check: Check, subject: Subject) -> tuple[Status, str]:
    try:
        return "passed", check(subject) or ""
    except Kept as reason:
        return "not applicable", str(reason)
    except NotApplicable as reason:
        # A promise is kept or broken: a check of one may not excuse itself.
        is_promised = bool(check.capabilities) and check.is_implied_by(subject)
        if is_promised:
            return "failed", f"the record asks for this check, which does not apply: {reason}"
        return "not applicable", str(reason)
    except AssertionError as failure:
        return "failed", str(failure)
    except Exception as error:  # noqa: BLE001  whatever the variant raises is part of its report
        return "error", f"{type(error).__name__}: {error}{_location_of(error)}"


def _location_of(error: Exception) -> str:
    """Return the line that raised an error, as near to it as there is code that is not torch's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_TORCH)]
    return f"\nin {own[-1].filename}:{own[-1].lineno}" if own else ""


def report_of(subject: Subject, outcomes: Iterable[Outcome]) -> Report:
    """Return the report that *outcomes* make."""
    return Report(
        type=subject.type,
        distribution=subject.distribution,
        version=subject.version,
        noether=core_version(),
        torch=str(torch.__version__),
        python=platform.python_version(),
        device=_device_name(subject.device),
        implied=tuple(name for name, check in CHECKS.items() if check.is_implied_by(subject)),
        outcomes=tuple(outcomes),
    )


def _device_name(device: str) -> str:
    if torch.device(device).type != "cuda":
        return device
    return f"{device} ({torch.cuda.get_device_name(device)})"


class VariantTests:
    """A test for every check.

    Inherit it, say which type, and pytest collects them::

        class TestWindow(VariantTests):
            type = "acme_window"

    Each check ``rope`` is a method ``test_rope``, which may be overridden; a check that does not
    apply is skipped with its reason.
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


def _test_of(check: Check) -> Callable[[VariantTests], None]:
    def test(self: VariantTests) -> None:
        import pytest  # scripts use the kit without it

        try:
            subject = self.subject()
        except NoetherError as error:  # the same for every check: one of them reports it
            if check.name == "construction":
                raise
            reason, *_ = str(error).splitlines()
            pytest.skip(f"{reason}; the check 'construction' reports it")
        try:
            check(subject)
        except NotApplicable as reason:
            pytest.skip(str(reason))

    test.__name__ = f"test_{check.name}"
    test.__qualname__ = f"{VariantTests.__name__}.{test.__name__}"
    test.__doc__ = check.contract
    return test


for _check in CHECKS.values():
    setattr(VariantTests, f"test_{_check.name}", _test_of(_check))
