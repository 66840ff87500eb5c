"""Which subjects there are, and the running of one."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import time
from collections.abc import Callable

from tests.benchmarks.results import Result
from tests.benchmarks.running import announcing, planning

SUBJECTS = (
    "startup",
    "configs",
    "documents",
    "building",
    "dot_product",
    "kernels",
    "slices",
    "latents",
    "summaries",
    "anchors",
    "irregular_nat",
    "compiled",
    "peers",
)
"""In the order in which they are measured; each is a file of this folder."""

LONG = ("limits", "large")
"""Subjects that take many minutes, or most of a machine's memory; measured where they are named."""


def is_there(subject: str) -> bool:
    """Return whether there is a file for *subject*."""
    return importlib.util.find_spec(f"tests.benchmarks.{subject}") is not None


def planned(subject: str, *, quick: bool) -> tuple[list[Result], int]:
    """Return the results of a subject with ones for numbers, and the count of measurements."""
    names: list[str] = []
    with planning(names.append):
        return _claims(subject, quick=quick), len(names)


def measure(subject: str, *, quick: bool, report: Callable[[str], None]) -> list[Result]:
    """Measure a subject, reporting each measurement before it is made."""
    _, count = planned(subject, quick=quick)
    start, number = time.perf_counter(), 0

    def begins(name: str) -> None:
        nonlocal number
        number += 1
        report(f"{subject} {number}/{count} [{time.perf_counter() - start:4.0f} s] {name}")

    gc.collect()
    gc.freeze()  # what is there by now need not be looked through before each round
    with announcing(begins, quick=quick):
        return _claims(subject, quick=quick)


def _claims(subject: str, *, quick: bool) -> list[Result]:
    return list(importlib.import_module(f"tests.benchmarks.{subject}").claims(quick=quick))
