"""From a subject to its report."""

from __future__ import annotations

import os
import platform
import time
import traceback
from collections.abc import Collection, Iterable
from importlib.metadata import version
from typing import Any

import torch

from noether_core.hookspecs import AttentionVariant
from noether_core.plugins.registry import Registry
from noether_core.reports import Outcome, Report, Status
from noether_core.testing.contract import CHECKS, implied_by, name_of, sentence_of
from noether_core.testing.failures import NotApplicable
from noether_core.testing.promises import CheckFunction, capabilities_of
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
    subject = Subject.of(source, registry=registry, device=device)
    return report_of(subject, [run_check(check, subject) for check in checks_named(only)])


def checks_named(names: Collection[str] | None) -> tuple[CheckFunction, ...]:
    """Return checks by name, in the order in which they run; all where *names* is None.

    Raises:
        ValueError: If there is no check of a name.
    """
    known = {name_of(check): check for check in CHECKS}
    if names is None:
        return CHECKS
    if unknown := sorted(set(names) - known.keys()):
        raise ValueError(f"there is no check {unknown[0]!r}; the checks are {', '.join(known)}")
    return tuple(check for name, check in known.items() if name in names)


def run_check(check: CheckFunction, subject: Subject) -> Outcome:
    """Return how a check ends, whatever the variant raises."""
    start = time.perf_counter()
    status, message = _ended(check, subject)
    return Outcome(
        check=name_of(check),
        contract=sentence_of(check),
        status=status,
        message=message,
        seconds=round(time.perf_counter() - start, 4),
    )


def _ended(check: CheckFunction, subject: Subject) -> tuple[Status, str]:
    try:
        return "passed", check(subject) or ""
    except NotApplicable as reason:
        if set(capabilities_of(check)) & set(subject.variant.capabilities):
            return (
                "failed",
                f"the record asks for this check, which says that it does not apply: {reason}",
            )
        return "not applicable", str(reason)
    except AssertionError as failure:
        return "failed", str(failure)
    except Exception as error:  # noqa: BLE001  whatever the variant raises is part of its report
        return "error", f"{type(error).__name__}: {error}{_place_of(error)}"


def _place_of(error: Exception) -> str:
    """Return where an error was raised, as near to it as there is code that is not torch's."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_TORCH)
    ]
    return f"\nin {own[-1].filename}:{own[-1].lineno}" if own else ""


def report_of(subject: Subject, outcomes: Iterable[Outcome]) -> Report:
    """Return the report that *outcomes* make."""
    facts: dict[str, Any] = {
        "noether": version("noether-attention"),
        "torch": str(torch.__version__),
    }
    return Report(
        type=subject.type,
        distribution=subject.distribution,
        version=subject.version,
        python=platform.python_version(),
        device=_device_name(subject.device),
        implied=tuple(map(name_of, implied_by(subject.variant))),
        outcomes=tuple(outcomes),
        **facts,
    )


def _device_name(device: str) -> str:
    return (
        f"{device} ({torch.cuda.get_device_name(device)})"
        if torch.device(device).type == "cuda"
        else device
    )
